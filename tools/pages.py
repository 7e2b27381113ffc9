"""Make the man pages and the shell completions from the usage texts: ``python -m tools.pages``.

What it makes is committed, so that an installation needs no generator; a test compares.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from rbee.hive.main import USAGE as HIVE
from rbee.keeper.main import USAGE as KEEPER
from rbee.pool_managerd.main import USAGE as POOL
from rbee.queen.main import USAGE as QUEEN
from tools.usage import Usage, read

CHECKOUT = Path(__file__).resolve().parents[1]
SECTIONS = {1: (KEEPER, HIVE), 8: (QUEEN, POOL)}
ALIASES = {"rbee-keeper": ("rbee",)}


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each file, relative to the checkout, with what belongs in it."""
    for section, texts in SECTIONS.items():
        for text in texts:
            usage = read(text)
            yield Path("docs/man", f"{usage.program}.{section}"), man_page(usage, section)
            for alias in ALIASES.get(usage.program, ()):
                yield Path("docs/man", f"{alias}.{section}"), f".so man{section}/{usage.program}.{section}\n"
            for shell, make in {"bash": bash, "fish": fish}.items():
                for name in (usage.program, *ALIASES.get(usage.program, ())):  # they are found by the file's name
                    yield Path("etc/completions", f"{name}.{shell}"), make(usage)
            yield Path("etc/completions", f"_{usage.program}"), zsh(usage)


def man_page(usage: Usage, section: int) -> str:
    """Return the page in man(7) macros."""
    lines = [f'.TH {usage.program.upper()} {section} "" rbee "rbee manual"', ".SH NAME"]
    lines.append(f"{usage.program} \\- {_roff(usage.summary.rstrip('.'))}")
    lines.append(".SH SYNOPSIS")
    lines += [f".br\n.B {_roff(synopsis)}" for synopsis in usage.synopses]
    lines.append(".SH DESCRIPTION")
    lines += [f".PP\n{_roff(' '.join(note.split()))}" for note in usage.notes]
    lines.append(".SH OPTIONS")
    for option in usage.options:
        value = f"={option.value}" if option.value else ""
        lines += [".TP", f".B {_roff(', '.join(option.names) + value)}", _roff(option.help)]
    lines += [".SH FILES", ".TP", ".I /etc/rbee/rbee.toml, ~/.config/rbee/rbee.toml"]
    lines += ["Settings; the example shows every key.", ".TP", ".I /etc/rbee/token, ~/.config/rbee/token"]
    lines += ["The fleet token, mode 0600.", ".SH SEE ALSO"]
    lines.append("rbee-keeper(1), rbee-hive(1), queen-rbee(8), pool-managerd(8), systemctl(1), journalctl(1)")
    return "\n".join(lines) + "\n"


def bash(usage: Usage) -> str:
    """Return a completion that offers the next word of a command, then options."""
    name = usage.program.replace("-", "_")
    cases = "\n".join(f'    "{" ".join(path)}") words="{" ".join(nexts)}" ;;' for path, nexts in _tree(usage).items())
    options = " ".join(name for option in usage.options for name in option.names)
    programs = " ".join((usage.program, *ALIASES.get(usage.program, ())))
    return f"""# bash completion for {usage.program}; made by tools/pages.py
_{name}() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} path="" n words=""
  for ((n = 1; n < COMP_CWORD; n++)); do
    [[ ${{COMP_WORDS[n]}} == -* ]] || path+="${{path:+ }}${{COMP_WORDS[n]}}"
  done
  case $path in
{cases}
  esac
  [[ $word == -* ]] && words="{options}"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -o default -F _{name} {programs}
"""


def zsh(usage: Usage) -> str:
    """Return the same for zsh."""
    cases = "\n".join(f'    "{" ".join(path)}") next=({" ".join(nexts)}) ;;' for path, nexts in _tree(usage).items())
    options = " ".join(name for option in usage.options for name in option.names)
    programs = " ".join((usage.program, *ALIASES.get(usage.program, ())))
    return f"""#compdef {programs}
# zsh completion for {usage.program}; made by tools/pages.py
local -a before next
before=(${{(M)words[2,CURRENT-1]:#[^-]*}})
case "${{before[*]}}" in
{cases}
esac
if [[ $words[CURRENT] == -* ]]; then
  compadd -- {options}
elif (( $#next )); then
  compadd -- $next
else
  _files
fi
"""


def fish(usage: Usage) -> str:
    """Return the same for fish."""
    lines = [f"# fish completion for {usage.program}; made by tools/pages.py"]
    for program in (usage.program, *ALIASES.get(usage.program, ())):
        for path, nexts in _tree(usage).items():
            given = " ".join((program, *path))
            condition = f"string match -qr '^{given} *[^ ]*\\$' -- (commandline -pc)"
            lines.append(f'complete -c {program} -f -n "{condition}" -a "{" ".join(nexts)}"')
        for option in usage.options:
            for name in (name for name in option.names if name.startswith("--")):
                takes = " -r" if option.value else ""
                lines.append(f"complete -c {program} -l {name[2:]}{takes} -d '{_quoted(option.help)}'")
    return "\n".join(lines) + "\n"


def _tree(usage: Usage) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return which words may follow which."""
    follows: dict[tuple[str, ...], dict[str, None]] = {}
    for command in usage.commands:
        for n, word in enumerate(command):
            follows.setdefault(command[:n], {})[word] = None
    return {path: tuple(words) for path, words in follows.items()}


def _roff(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def main() -> None:
    """Write them all."""
    for path, text in pages():
        (CHECKOUT / path).parent.mkdir(parents=True, exist_ok=True)
        (CHECKOUT / path).write_text(text)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
