# bash completion for queen-rbee; made by tools/pages.py
_queen_rbee() {
  local word=${COMP_WORDS[COMP_CWORD]} path="" n words=""
  for ((n = 1; n < COMP_CWORD; n++)); do
    [[ ${COMP_WORDS[n]} == -* ]] || path+="${path:+ }${COMP_WORDS[n]}"
  done
  case $path in

  esac
  [[ $word == -* ]] && words="--config --bind --check-config --debug -h --help --version"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _queen_rbee queen-rbee
