from dataclasses import dataclass, field

from septet.recipes import Audio, Figure, Table, measured


@dataclass(frozen=True)
class Butter:
    grams: float = 10.0


@dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = (0,)
    butter: Butter = field(default_factory=Butter)
    interrupt_at: int = -1
    """Seed at which the toaster trips, once."""
    brownness: float = 1.0


def toast(seed, config, run):
    tripped = run.folder / "tripped"
    if seed == config.interrupt_at and not tripped.exists():
        tripped.touch()
        raise KeyboardInterrupt
    return {"seed": seed, "brown": config.brownness + 0.01 * seed, "grams": config.butter.grams}


def run(config, run):
    return {"slices": [run.stage(f"slice-{s}", toast, s, config, run) for s in config.seeds]}


def brownness(results):
    return measured([s["brown"] for s in results["slices"]], unit="shades", peer="oven 0.8")


def butter_up(results):
    return measured(0.0)


def exhibits(results):
    def draw(figure):
        figure.add_subplot().plot([s["brown"] for s in results["slices"]], label="slices")

    yield Figure("Brownness", "by slice", draw)
    yield Table("Slices", "all of them", ["seed", "brown"], [[0, 1.0], [1, None]])
    yield Audio("Crunch", "bite it", b"RIFF")
