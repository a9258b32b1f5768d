"""Every head on the features of a network: what retrains it, what selects it, how it does."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from septet import robust

Floats: TypeAlias = NDArray[np.float64]
Row: TypeAlias = dict[str, Any]

ALPHAS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
BUDGETS = (1.0, 0.2, 0.05)
DRAWS = 2
"""Draws of a reduced budget, averaged."""
PLANNED, ROUNDS = 200, 5


@dataclass(frozen=True)
class Features:
    """Standardised features of the three parts, with their images' classes and places."""

    train: Floats
    validation: Floats
    test: Floats
    of_train: robust.GroupedImages
    of_validation: robust.GroupedImages
    of_test: robust.GroupedImages
    center: Floats
    scale: Floats

    def judge(self, name: str, labels: str, head: Any) -> Row:
        """Return the row of a head."""
        return row(name, labels, self.of_test, head.predict(self.test))


def row(name: str, labels: str, part: robust.GroupedImages, guess: NDArray[np.integer]) -> Row:
    """Say how predictions for the test part do."""
    worst = robust.worst_group_accuracy(part.y, guess, groups=part.place)
    return {
        "method": name,
        "labels": labels,
        "worst": worst,
        "average": float((part.y == guess).mean()),
    }


def on_erm(features: Features, seed: int) -> list[Row]:
    """Heads on a network that all training rows trained without group labels."""
    part = features.of_validation
    rows = [_naive(features), *_planned(features, seed)]
    for fraction in BUDGETS:
        found: list[list[Row]] = []
        for draw in range(1 if fraction == 1.0 else DRAWS):
            known = robust.sample_labels(
                part.y, part.place, fraction, random_state=1000 * seed + draw
            )
            found.append(_with_labels(features, known, fraction, 1000 * seed + draw))
        rows += [_mean(list(same)) for same in zip(*found, strict=True)]
    return rows


def _with_labels(
    features: Features, known: NDArray[np.intp], fraction: float, seed: int
) -> list[Row]:
    """Heads that some rows of the validation part retrain and select."""
    part, X = features.of_validation, features.validation[known]
    y, place = part.y[known], part.place[known]
    words, n = f"{100 * fraction:g} %", len(known)
    dro = robust.GroupDROClassifierCV(ALPHAS)
    balanced = robust.GroupSearchCV(robust.GroupBalancedClassifier(), {"alpha": ALPHAS})

    def cris(head: Any, selection: Any) -> Any:
        model = robust.CRISClassifier(
            head=head, selection=selection, standardize=False, random_state=seed
        )
        return model.fit(X, y, groups=place)

    sparse = robust.DFRClassifier(random_state=seed).fit(X, y, groups=place)
    halves = f"{n // 2} + {n - n // 2}"
    return [
        features.judge(f"CRIS, halves of {words}", halves, cris(dro, "holdout")),
        features.judge(f"CRIS, folds of {words}", f"{n}", cris(dro, "cv")),
        features.judge(f"balanced head, halves of {words}", halves, cris(balanced, "holdout")),
        features.judge(f"DFR, {words}", f"{n}", sparse),
    ]


def _naive(features: Features) -> Row:
    """Return the control: the head retrained on the very rows that trained the network."""
    n = len(features.train)
    head = _fit_and_select(robust.GroupDROClassifierCV(ALPHAS), features, np.arange(n))
    return features.judge("NCRT (same rows)", f"{n} + {len(features.validation)}", head)


def _planned(features: Features, seed: int) -> list[Row]:
    """Heads on the labels that the planner asks for; also with the others' groups inferred."""
    X, part = features.validation, features.of_validation
    known = np.full(len(X), -1)
    rng = np.random.default_rng(seed)
    budget = min(PLANNED, len(X) // 4)
    for _ in range(ROUNDS):
        plan = robust.suggest_labels(X, part.y, known, budget // ROUNDS, random_state=rng)
        known[plan.rows] = part.place[plan.rows]
    n = int((known >= 0).sum())
    head = robust.GroupDROClassifierCV(ALPHAS, random_state=seed)
    asked = features.judge("CRIS, planned labels", f"{n}", head.fit(X, part.y, groups=known))
    membership, _ = robust.infer_groups(X, part.y, known)
    head = robust.GroupDROClassifierCV(ALPHAS, random_state=seed)
    head.fit(X, part.y, group_membership=membership)
    return [asked, features.judge("CRIS, planned labels, others inferred", f"{n}", head)]


def on_split(
    features: Features,
    split: robust.CRISSplit,
    retrain: float,
    early: NDArray[np.integer],
    head: robust.LinearHead,
) -> list[Row]:
    """Heads on a network that a part of the training rows trained."""
    train, select = features.of_train, len(features.validation)
    one, two = split.phase_one, split.retraining
    words = f"{100 * (1 - retrain):.0f}/{100 * retrain:.0f}"

    def fitted(head: Any, rows: NDArray[np.intp], groups: Any = None) -> Any:
        return _fit_and_select(head, features, rows, groups)

    dro = robust.GroupDROClassifierCV(ALPHAS)
    balanced = robust.GroupSearchCV(robust.GroupBalancedClassifier(), {"alpha": ALPHAS})
    subsampled = robust.GroupSearchCV(
        robust.GroupBalancedClassifier(method="subsample"), {"alpha": ALPHAS}, random_state=0
    )
    plain = robust.GroupSearchCV(robust.ERMClassifier(), {"alpha": ALPHAS})
    adjusted = robust.GroupSearchCV(robust.LogitAdjustedClassifier(), {"alpha": ALPHAS})
    scaled = robust.LinearHead(
        head.rows_ * features.scale, head.bias_ + head.rows_ @ features.center
    )
    afr = robust.GroupSearchCV(
        robust.AFRClassifier(scaled),
        {"gamma": (4.0, 8.0, 12.0, 16.0, 20.0), "alpha": (1.0, 0.1, 0.01)},
    )
    pseudo = robust.pseudo_groups(train.y, early)
    tau = robust.TauNormClassifier(scaled)
    tau.fit(features.validation, features.of_validation.y, groups=features.of_validation.place)
    labels, none = f"{len(two)} + {select}", f"0 + {select}"
    return [
        features.judge(f"CRIS, {words}", labels, fitted(dro, two)),
        features.judge(
            f"reuse, {words} (same network)", f"{len(one)} + {select}", fitted(dro, one)
        ),
        features.judge(f"balanced head, {words}", labels, fitted(balanced, two)),
        features.judge(f"subsampled head, {words}", labels, fitted(subsampled, two)),
        features.judge(f"plain head, {words}", none, fitted(plain, two)),
        features.judge(f"logit-adjusted head, {words}", none, fitted(adjusted, two)),
        features.judge(f"AFR, {words}", none, fitted(afr, two)),
        features.judge(f"pseudo-groups, {words}", none, fitted(dro, two, pseudo)),
        features.judge(f"tau-norm, {words}", none, tau),
        _memorised(features, head, one, two, words),
    ]


def _memorised(
    features: Features,
    head: robust.LinearHead,
    one: NDArray[np.intp],
    two: NDArray[np.intp],
    words: str,
) -> Row:
    """How the network's own head does on the rows that trained it and on the others."""
    train = features.of_train
    guess = head.predict(features.train * features.scale + features.center)
    worst = [
        robust.worst_group_accuracy(train.y[rows], guess[rows], groups=train.place[rows])
        for rows in (one, two)
    ]
    entry = features.judge(f"plain network, {words}", "0", _Fixed(head, features))
    return entry | {"worst on its own rows": worst[0], "worst on the other rows": worst[1]}


@dataclass(frozen=True)
class _Fixed:
    """A head for raw features, asked with standardised ones."""

    head: robust.LinearHead
    features: Features

    def predict(self, X: Floats) -> NDArray[Any]:
        """Return the classes."""
        return self.head.predict(X * self.features.scale + self.features.center)


def _fit_and_select(
    head: Any, features: Features, rows: NDArray[np.intp], groups: Any = None
) -> Any:
    """Fit on some training rows and let the validation part select."""
    train, validation = features.of_train, features.of_validation
    X = np.vstack([features.train[rows], features.validation])
    y = np.concatenate([train.y[rows], validation.y])
    place = np.concatenate([train.place[rows], validation.place])
    n = len(rows)
    chosen = np.arange(n), np.arange(n, len(y))
    if groups is not None:  # other groups to fit by than to select by
        return _select_among(head, X, y, place, np.asarray(groups)[rows], n)
    return head.set_params(cv=[chosen], refit=False).fit(X, y, groups=place)


def _select_among(
    head: Any, X: Floats, y: NDArray[Any], place: NDArray[Any], groups: NDArray[Any], n: int
) -> Any:
    """Fit every penalty by some groups and take the one that does best by the places."""
    heads = [
        robust.GroupDROClassifier(alpha, cross_with_label=False).fit(X[:n], y[:n], groups=groups)
        for alpha in head.alphas
    ]
    scores = [
        robust.worst_group_accuracy(y[n:], fitted.predict(X[n:]), groups=place[n:])
        for fitted in heads
    ]
    return heads[int(np.argmax(scores))]


def _mean(rows: list[Row]) -> Row:
    """Average several draws of one method."""
    numbers = {key: float(np.mean([entry[key] for entry in rows])) for key in ("worst", "average")}
    return rows[0] | numbers
