# fish completion for queen-rbee; made by tools/pages.py
complete -c queen-rbee -l config -r -d 'Read this rbee.toml.'
complete -c queen-rbee -l bind -r -d 'Listen there, host:port.'
complete -c queen-rbee -l check-config -d 'Check the settings, say each thing that is wrong, and exit: 0, or 78. Of <file> only what it says itself: no environment, no secrets, nothing of this host but a policy in the Nix store.'
complete -c queen-rbee -l debug -d 'Log more.'
complete -c queen-rbee -l help -d 'Show this.'
complete -c queen-rbee -l version -d 'Show the version.'
