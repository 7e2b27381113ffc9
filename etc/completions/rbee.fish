# fish completion for rbee-keeper; made by tools/pages.py
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper *[^ ]*\$' -- (commandline -pc)" -a "jobs workers pool orchestrator policy token"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper jobs *[^ ]*\$' -- (commandline -pc)" -a "submit list status events cancel explain"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper workers *[^ ]*\$' -- (commandline -pc)" -a "explain"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper pool *[^ ]*\$' -- (commandline -pc)" -a "list status state register remove start stop restart logs exec verify rollout drain undrain worker models git gpu"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper pool worker *[^ ]*\$' -- (commandline -pc)" -a "list spawn status stop drain evict logs"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper pool models *[^ ]*\$' -- (commandline -pc)" -a "list catalog info download import verify delete cache uncache"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper pool git *[^ ]*\$' -- (commandline -pc)" -a "status submodules pull sync"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper pool gpu *[^ ]*\$' -- (commandline -pc)" -a "status"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper orchestrator *[^ ]*\$' -- (commandline -pc)" -a "start stop restart status logs listen"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper policy *[^ ]*\$' -- (commandline -pc)" -a "test"
complete -c rbee-keeper -f -n "string match -qr '^rbee-keeper token *[^ ]*\$' -- (commandline -pc)" -a "new"
complete -c rbee-keeper -l model -r -d 'Alias or reference; pool models catalog lists them.'
complete -c rbee-keeper -l prompt -r -d 'What to ask; - reads it from standard input.'
complete -c rbee-keeper -l prompt-file -r -d 'Read it from a file.'
complete -c rbee-keeper -l system -r -d 'What the model is told first.'
complete -c rbee-keeper -l raw -d 'Send the prompt as it is, without the model\'s chat template.'
complete -c rbee-keeper -l max-tokens -r -d 'Stop after so many tokens [otherwise 256].'
complete -c rbee-keeper -l temperature -r -d '0 is greedy [otherwise 0.8].'
complete -c rbee-keeper -l seed -r -d 'The same seed gives the same text.'
complete -c rbee-keeper -l stop -r -d 'End before this; may be given four times.'
complete -c rbee-keeper -l ignore-eos -d 'Never let the model end by itself; for measurements of a known length.'
complete -c rbee-keeper -l priority -r -d 'interactive or batch.'
complete -c rbee-keeper -l deadline -r -d 'Fail when it is not done by then. Of pool drain: what still runs then goes on elsewhere.'
complete -c rbee-keeper -l session -r -d 'What belongs together: one share of the queue, and the worker that knows it already.'
complete -c rbee-keeper -l id -r -d 'Your name for the job; submitting it again gives the same job.'
complete -c rbee-keeper -l detach -d 'Only say the job\'s id; jobs events shows the rest.'
complete -c rbee-keeper -l resume -d 'Go on with the rollout that stopped, at the host where it stopped.'
complete -c rbee-keeper -l drain -r -d 'Give up when the jobs of a host have not ended after so long [default: 1800].'
complete -c rbee-keeper -l after -r -d 'Go on after this event, or this job.'
complete -c rbee-keeper -l host -r -d 'A host of [hosts.*] in rbee.toml, over ssh; may be repeated, all are all of them.'
complete -c rbee-keeper -l http -d 'Ask the hosts\' pool-managerd over HTTP instead, at [hosts.*] pool.'
complete -c rbee-keeper -l ssh -r -d 'What ssh is given for that host; otherwise its name.'
complete -c rbee-keeper -l sudo -d 'Commands there go through sudo -n.'
complete -c rbee-keeper -l queen -r -d 'Where the queen listens, as seen from that host; otherwise found out.'
complete -c rbee-keeper -l url -r -d 'Where the pool listens, as seen from the queen; otherwise found out. Without --ssh only the queen is told.'
complete -c rbee-keeper -l output -r -d 'Write the token there, mode 0600, and not to standard output.'
complete -c rbee-keeper -l record -r -d 'Decisions that were recorded ([queen] record); otherwise samples.'
complete -c rbee-keeper -l lines -r -d 'How many lines of the log [default: 100].'
complete -c rbee-keeper -l follow -d 'Go on as more is logged.'
complete -c rbee-keeper -l format -r -d 'text or json; of pool verify also junit [default: text].'
complete -c rbee-keeper -l no-color -d 'No colours, also on a terminal.'
complete -c rbee-keeper -l config -r -d 'Read this rbee.toml.'
complete -c rbee-keeper -l timeout -r -d 'Give up on an answer after so long [default: 30].'
complete -c rbee-keeper -l dry-run -d 'Say what would be done.'
complete -c rbee-keeper -l yes -d 'Do not ask before something is destroyed.'
complete -c rbee-keeper -l debug -d 'Show the traceback of a bug.'
complete -c rbee-keeper -l help -d 'Show this.'
complete -c rbee-keeper -l version -d 'Show the version.'
complete -c rbee -f -n "string match -qr '^rbee *[^ ]*\$' -- (commandline -pc)" -a "jobs workers pool orchestrator policy token"
complete -c rbee -f -n "string match -qr '^rbee jobs *[^ ]*\$' -- (commandline -pc)" -a "submit list status events cancel explain"
complete -c rbee -f -n "string match -qr '^rbee workers *[^ ]*\$' -- (commandline -pc)" -a "explain"
complete -c rbee -f -n "string match -qr '^rbee pool *[^ ]*\$' -- (commandline -pc)" -a "list status state register remove start stop restart logs exec verify rollout drain undrain worker models git gpu"
complete -c rbee -f -n "string match -qr '^rbee pool worker *[^ ]*\$' -- (commandline -pc)" -a "list spawn status stop drain evict logs"
complete -c rbee -f -n "string match -qr '^rbee pool models *[^ ]*\$' -- (commandline -pc)" -a "list catalog info download import verify delete cache uncache"
complete -c rbee -f -n "string match -qr '^rbee pool git *[^ ]*\$' -- (commandline -pc)" -a "status submodules pull sync"
complete -c rbee -f -n "string match -qr '^rbee pool gpu *[^ ]*\$' -- (commandline -pc)" -a "status"
complete -c rbee -f -n "string match -qr '^rbee orchestrator *[^ ]*\$' -- (commandline -pc)" -a "start stop restart status logs listen"
complete -c rbee -f -n "string match -qr '^rbee policy *[^ ]*\$' -- (commandline -pc)" -a "test"
complete -c rbee -f -n "string match -qr '^rbee token *[^ ]*\$' -- (commandline -pc)" -a "new"
complete -c rbee -l model -r -d 'Alias or reference; pool models catalog lists them.'
complete -c rbee -l prompt -r -d 'What to ask; - reads it from standard input.'
complete -c rbee -l prompt-file -r -d 'Read it from a file.'
complete -c rbee -l system -r -d 'What the model is told first.'
complete -c rbee -l raw -d 'Send the prompt as it is, without the model\'s chat template.'
complete -c rbee -l max-tokens -r -d 'Stop after so many tokens [otherwise 256].'
complete -c rbee -l temperature -r -d '0 is greedy [otherwise 0.8].'
complete -c rbee -l seed -r -d 'The same seed gives the same text.'
complete -c rbee -l stop -r -d 'End before this; may be given four times.'
complete -c rbee -l ignore-eos -d 'Never let the model end by itself; for measurements of a known length.'
complete -c rbee -l priority -r -d 'interactive or batch.'
complete -c rbee -l deadline -r -d 'Fail when it is not done by then. Of pool drain: what still runs then goes on elsewhere.'
complete -c rbee -l session -r -d 'What belongs together: one share of the queue, and the worker that knows it already.'
complete -c rbee -l id -r -d 'Your name for the job; submitting it again gives the same job.'
complete -c rbee -l detach -d 'Only say the job\'s id; jobs events shows the rest.'
complete -c rbee -l resume -d 'Go on with the rollout that stopped, at the host where it stopped.'
complete -c rbee -l drain -r -d 'Give up when the jobs of a host have not ended after so long [default: 1800].'
complete -c rbee -l after -r -d 'Go on after this event, or this job.'
complete -c rbee -l host -r -d 'A host of [hosts.*] in rbee.toml, over ssh; may be repeated, all are all of them.'
complete -c rbee -l http -d 'Ask the hosts\' pool-managerd over HTTP instead, at [hosts.*] pool.'
complete -c rbee -l ssh -r -d 'What ssh is given for that host; otherwise its name.'
complete -c rbee -l sudo -d 'Commands there go through sudo -n.'
complete -c rbee -l queen -r -d 'Where the queen listens, as seen from that host; otherwise found out.'
complete -c rbee -l url -r -d 'Where the pool listens, as seen from the queen; otherwise found out. Without --ssh only the queen is told.'
complete -c rbee -l output -r -d 'Write the token there, mode 0600, and not to standard output.'
complete -c rbee -l record -r -d 'Decisions that were recorded ([queen] record); otherwise samples.'
complete -c rbee -l lines -r -d 'How many lines of the log [default: 100].'
complete -c rbee -l follow -d 'Go on as more is logged.'
complete -c rbee -l format -r -d 'text or json; of pool verify also junit [default: text].'
complete -c rbee -l no-color -d 'No colours, also on a terminal.'
complete -c rbee -l config -r -d 'Read this rbee.toml.'
complete -c rbee -l timeout -r -d 'Give up on an answer after so long [default: 30].'
complete -c rbee -l dry-run -d 'Say what would be done.'
complete -c rbee -l yes -d 'Do not ask before something is destroyed.'
complete -c rbee -l debug -d 'Show the traceback of a bug.'
complete -c rbee -l help -d 'Show this.'
complete -c rbee -l version -d 'Show the version.'
