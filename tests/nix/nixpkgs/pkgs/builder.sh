# shellcheck shell=bash
# The builder of every derivation: buildCommand where there is one, else the phases that are there, with their hooks.
set -euo pipefail
export HOME=$TMPDIR LC_ALL=C.UTF-8
if [ -n "${buildCommand-}" ]; then
    eval "$buildCommand"
    exit
fi
if [ -n "${src-}" ]; then
    cp --recursive "$src" source
    chmod -R u+w source
    cd source
fi
for phase in patch configure build install fixup installCheck; do
    for part in "pre${phase^}" "${phase}Phase" "post${phase^}"; do
        if [ -n "${!part-}" ]; then
            echo "running $part"
            eval "${!part}"
        fi
    done
done
