"""Commands for data sets: ls, fetch, verify."""

from typing import Annotated, Any

import tyro

from septet.cli import _console

Json = Annotated[bool, tyro.conf.arg(name="json")]
Names = tyro.conf.Positional[tuple[str, ...]]


def ls(*, as_json: Json = False) -> int:
    """List every data set, its size, its licence and whether it is here."""
    from septet import data

    rows = []
    for name in data.names():
        entry = data.describe(name)
        rows.append(
            {
                "data set": name,
                "here": "yes" if data.available(name) else "no",
                "MB": round(entry.size / 1e6, 1),
                "title": entry.title,
                "licence": entry.licence,
            }
        )
    _console.table(rows, as_json=as_json)
    return 0


def fetch(names: Names, *, accept_licence: bool = False, as_json: Json = False) -> int:
    """Bring data sets onto this machine and verify them; nothing is installed.

    Parameters
    ----------
    names
        Data sets as `septet data ls` lists them.
    accept_licence
        Accept the terms of a data set that asks for it.
    as_json
        Print JSON.
    """
    from septet import data

    paths: dict[str, Any] = {}
    if not names:
        raise ValueError("name at least one data set; `septet data ls` lists them.")
    for name in names:
        data.describe(name)  # a wrong name is told before anything is fetched
    with _console.progress("fetch") as say:
        for name in names:
            found = data.fetch(name, accept_licence=accept_licence, progress=say)
            paths |= {f"{name}/{member}": str(path) for member, path in found.items()}
    _console.result(paths, as_json=as_json)
    return 0


def verify(names: Names = (), *, as_json: Json = False) -> int:
    """Read every byte of data sets (all that are here, if none is named) and compare digests.

    Parameters
    ----------
    names
        Data sets as `septet data ls` lists them.
    as_json
        Print JSON.
    """
    from septet import data

    rows = []
    with _console.progress("verify") as say:
        for name in names or [name for name in data.names() if data.available(name)]:
            say(name)
            found = data.verify(name)
            rows += [
                {"data set": name, "member": member, "from": found.sources[member], "SHA-256": sha}
                for member, sha in found.members.items()
            ]
    _console.table(rows, as_json=as_json)
    return 0


COMMANDS = {"ls": ls, "fetch": fetch, "verify": verify}
