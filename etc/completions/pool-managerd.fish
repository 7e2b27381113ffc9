# fish completion for pool-managerd; made by tools/pages.py
complete -c pool-managerd -l config -r -d 'Read this rbee.toml.'
complete -c pool-managerd -l bind -r -d 'Listen there, host:port.'
complete -c pool-managerd -l check-config -d 'Check the settings, say each thing that is wrong, and exit: 0, or 78. Of <file> only what it says itself: no environment, no secrets, nothing of this host.'
complete -c pool-managerd -l debug -d 'Log more.'
complete -c pool-managerd -l help -d 'Show this.'
complete -c pool-managerd -l version -d 'Show the version.'
