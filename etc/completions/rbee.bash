# bash completion for rbee-keeper; made by tools/pages.py
_rbee_keeper() {
  local word=${COMP_WORDS[COMP_CWORD]} path="" n words=""
  for ((n = 1; n < COMP_CWORD; n++)); do
    [[ ${COMP_WORDS[n]} == -* ]] || path+="${path:+ }${COMP_WORDS[n]}"
  done
  case $path in
    "") words="jobs workers pool orchestrator policy token" ;;
    "jobs") words="submit list status events cancel explain" ;;
    "workers") words="explain" ;;
    "pool") words="list status state register remove start stop restart logs exec verify rollout deploy drain undrain worker models sync git gpu" ;;
    "pool worker") words="list spawn status stop drain evict logs" ;;
    "pool models") words="list catalog info download import verify delete cache uncache" ;;
    "pool git") words="status submodules pull sync" ;;
    "pool gpu") words="status" ;;
    "orchestrator") words="start stop restart status logs listen" ;;
    "policy") words="test" ;;
    "token") words="new" ;;
  esac
  [[ $word == -* ]] && words="--model --prompt --prompt-file --system --raw --max-tokens --temperature --top-p --top-k --min-p --repeat-penalty --seed --stop --ignore-eos --priority --deadline --session --pool --backend --id --detach --gpu --ctx --slots --kv --gpu-layers --memory --cpu --idle --lazy --pin --spare --keep --forget --prune --resume --flake --build-host --auto-rollback --drain --after --state --limit --host --http --ssh --sudo --queen --url --output --record --lines --follow --format --no-color --config --timeout --dry-run --yes --debug -h --help --version"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _rbee_keeper rbee-keeper rbee
