# shellcheck shell=bash disable=SC2154,SC2016 # Nix sets variables, and some are for the script that is written
# Programs know their packages by themselves, and the interpreter that runs them is bare: sys.executable alone cannot
# import rbee. Each is a small script beside the real one, which is hidden; argv[0] is the visible one.
wrapped() {
    local program=$1 hidden
    hidden=$(dirname "$program")/.$(basename "$program")-wrapped
    sed -i "1s|.*|#!$interpreter|; 1a $(found "$program")" "$program"
    mv "$program" "$hidden"
    {
        echo '#!/bin/bash'
        # shellcheck disable=SC2086 # words are what is meant
        exports $wrapping
        echo 'export PYTHONNOUSERSITE=true'
        printf 'exec -a "$0" %q "$@"\n' "$hidden"
    } >"$program"
    chmod 755 "$program"
}

found() {
    local folder
    printf 'import site, sys; sys.argv[0] = "%s"; ' "$1"
    for folder in "$out/$sitePackages" $folders; do printf 'site.addsitedir("%s"); ' "$folder"; done
}

exports() {
    while [ $# -gt 0 ]; do
        case $1 in
        --set) printf 'export %s=%q\n' "$2" "$3"; shift 3 ;;
        --set-default) printf 'export %s=${%s-%q}\n' "$2" "$2" "$3"; shift 3 ;;
        --suffix) printf 'export %s=${%s:+$%s%s}%q\n' "$2" "$2" "$2" "$3" "$4"; shift 4 ;;
        --prefix) printf 'export %s=%q${%s:+%s$%s}\n' "$2" "$4" "$2" "$3" "$2"; shift 4 ;;
        *) echo "makeWrapperArgs: what is $1?" >&2; return 1 ;;
        esac
    done
}

for program in "$out"/bin/*; do
    [ -f "$program" ] && wrapped "$program"
done
