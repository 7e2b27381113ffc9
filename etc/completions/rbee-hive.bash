# bash completion for rbee-hive; made by tools/pages.py
_rbee_hive() {
  local word=${COMP_WORDS[COMP_CWORD]} path="" n words=""
  for ((n = 1; n < COMP_CWORD; n++)); do
    [[ ${COMP_WORDS[n]} == -* ]] || path+="${path:+ }${COMP_WORDS[n]}"
  done
  case $path in
    "") words="status worker models gpu sync git drain undrain join leave daemon" ;;
    "worker") words="spawn list status stop drain evict logs" ;;
    "models") words="list catalog info download import verify delete cache uncache" ;;
    "gpu") words="status" ;;
    "git") words="status submodules pull sync" ;;
    "daemon") words="start stop restart status logs" ;;
  esac
  [[ $word == -* ]] && words="--model --id --gpu --ctx --slots --kv --gpu-layers --memory --cpu --idle --lazy --pin --priority --spare --keep --forget --prune --direct --http --queen --url --listen --deadline --events --lines --follow --format --no-color --config --timeout --dry-run --yes --debug -h --help --version"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _rbee_hive rbee-hive
