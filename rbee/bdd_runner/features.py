"""Which feature files are meant."""

from collections.abc import Iterable
from pathlib import Path

from rbee.errors import NotFound

DEFAULT = "tests/features"


def find(words: Iterable[str], root: Path) -> list[Path]:
    """Return the feature files that ``words`` name, all below ``root`` when there are no words.

    Raises:
        NotFound: there is no such feature, or none at all.
    """
    found = {file.resolve() for word in words for file in _named(word, root)} or set(_below(root))
    if not found:
        raise NotFound(f"{root} holds no *.feature file", hint="RBEE_BDD_FEATURE_PATH=DIRECTORY bdd-runner")
    return sorted(found)


def _named(word: str, root: Path) -> list[Path]:
    path = Path(word)
    known = _below(root)
    if by_name := [file for file in known if word in (file.stem, file.name)]:
        return by_name
    if path.is_file() and path.suffix == ".feature":
        return [path]
    if path.is_dir() and (inside := _below(path)):
        return inside
    names = ", ".join(file.stem for file in known)
    raise NotFound(f"no feature {word} in {root}", hint=f"there are {names}" if names else "")


def _below(directory: Path) -> list[Path]:
    return sorted(file.resolve() for file in directory.rglob("*.feature"))
