# fish completion for rbee-hive; made by tools/pages.py
complete -c rbee-hive -f -n "string match -qr '^rbee-hive *[^ ]*\$' -- (commandline -pc)" -a "status worker models gpu git drain undrain join leave daemon"
complete -c rbee-hive -f -n "string match -qr '^rbee-hive worker *[^ ]*\$' -- (commandline -pc)" -a "spawn list status stop drain evict logs"
complete -c rbee-hive -f -n "string match -qr '^rbee-hive models *[^ ]*\$' -- (commandline -pc)" -a "list catalog info download import verify delete cache uncache"
complete -c rbee-hive -f -n "string match -qr '^rbee-hive gpu *[^ ]*\$' -- (commandline -pc)" -a "status"
complete -c rbee-hive -f -n "string match -qr '^rbee-hive git *[^ ]*\$' -- (commandline -pc)" -a "status submodules pull sync"
complete -c rbee-hive -f -n "string match -qr '^rbee-hive daemon *[^ ]*\$' -- (commandline -pc)" -a "start stop restart status logs"
complete -c rbee-hive -l model -r -d 'Alias or reference of a model on this host (models list).'
complete -c rbee-hive -l id -r -d 'Its name; otherwise worker-<backend>-<n>.'
complete -c rbee-hive -l gpu -r -d 'Which GPU; otherwise one with room.'
complete -c rbee-hive -l ctx -r -d 'Context of each slot [otherwise worker.ctx of rbee.toml, or what the model was trained on].'
complete -c rbee-hive -l slots -r -d 'Requests at once.'
complete -c rbee-hive -l memory -r -d 'Its memory limit, like 600M or 2G; otherwise from the model\'s size.'
complete -c rbee-hive -l cpu -r -d 'At most this much CPU; 100 is one core.'
complete -c rbee-hive -l idle -r -d 'Exit after so long without a request; the next one wakes it.'
complete -c rbee-hive -l lazy -d 'Only bind the socket; the first request starts it.'
complete -c rbee-hive -l pin -d 'Never evict it for another model.'
complete -c rbee-hive -l spare -d 'It goes for good when it falls asleep and no job waits for its model.'
complete -c rbee-hive -l direct -d 'Do it here, through systemd, without asking pool-managerd.'
complete -c rbee-hive -l http -d 'Ask pool-managerd; otherwise it is asked when it listens.'
complete -c rbee-hive -l queen -r -d 'Where the queen listens, as seen from here.'
complete -c rbee-hive -l url -r -d 'Where this pool is to listen, as seen from the queen.'
complete -c rbee-hive -l listen -r -d 'Listen there instead, IP:port; a port alone is every address.'
complete -c rbee-hive -l deadline -r -d 'What still runs then goes on at other pools, where it can.'
complete -c rbee-hive -l events -d 'Show each step as a line of JSON as it happens, the result as the last.'
complete -c rbee-hive -l lines -r -d 'How many lines of the log [default: 100].'
complete -c rbee-hive -l follow -d 'Go on as more is logged.'
complete -c rbee-hive -l format -r -d 'text or json [default: text].'
complete -c rbee-hive -l no-color -d 'No colours, also on a terminal.'
complete -c rbee-hive -l config -r -d 'Read this rbee.toml.'
complete -c rbee-hive -l timeout -r -d 'Give up on the daemon\'s answer after so long [default: 30].'
complete -c rbee-hive -l dry-run -d 'Say what would be done.'
complete -c rbee-hive -l yes -d 'Do not ask before something is destroyed.'
complete -c rbee-hive -l debug -d 'Show the traceback of a bug.'
complete -c rbee-hive -l help -d 'Show this.'
complete -c rbee-hive -l version -d 'Show the version.'
