"""ssh's own words, as OpenSSH 9.2 printed them, and what an operator is told."""

import pytest

from rbee.adapters.ssh.failures import Far, failure, of_sudo, unexplained
from rbee.errors import NotFound, NotPermitted, PoolUnreachable, RbeeError, Timeout

FAR = Far("mac", "ann@mac.home.arpa")
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Add correct host key in /root/.ssh/known_hosts to get rid of this message.
Offending ED25519 key in /root/.ssh/known_hosts:3
Host key for mac has changed and you have requested strict checking.
Host key verification failed.
"""
UNKNOWN = """\
No ED25519 host key is known for mac and you have requested strict checking.\r
Host key verification failed.\r
"""
CASES: dict[str, tuple[str, type[RbeeError], str]] = {
    "no such name": (
        "ssh: Could not resolve hostname mac.home.arpa: Name or service not known\r\n",
        PoolUnreachable,
        "no such host, 'mac.home.arpa' cannot be resolved (Name or service not known)",
    ),
    "refused": ("ssh: connect to host mac port 22: Connection refused\r\n", PoolUnreachable, "refuses ssh on port 22"),
    "timeout": (
        "ssh: connect to host mac port 22: Connection timed out\r\n",
        Timeout,
        "did not answer ssh within 10 s",
    ),
    "silent sshd": ("Connection timed out during banner exchange\r\n", Timeout, "did not answer ssh within 10 s"),
    "no route": ("ssh: connect to host mac port 22: No route to host\r\n", PoolUnreachable, "no route to host"),
    "key unknown": (UNKNOWN, NotPermitted, "the host key of mac (ann@mac.home.arpa) is not known yet"),
    "key changed": (CHANGED, NotPermitted, "in line 3 of /root/.ssh/known_hosts"),
    "denied": ("ann@mac: Permission denied (publickey,password).\r\n", NotPermitted, "does not let ann@mac in"),
    "jump": ("channel 0: open failed: connect failed\nstdio forwarding failed\n", PoolUnreachable, "ProxyJump"),
    "cut": ("client_loop: send disconnect: Broken pipe\r\n", PoolUnreachable, "went silent"),
    "keepalive": ("Timeout, server mac not responding.\r\n", PoolUnreachable, "went silent"),
    "config": ("/root/.ssh/config: line 3: Bad configuration option: nonsense\r\n", NotPermitted, "Bad configuration"),
    "no sudo": ("bash: line 1: sudo: command not found\n", NotFound, "sudo is missing on mac (ann@mac.home.arpa)"),
    "no sudo in zsh": ("zsh:1: command not found: sudo\n", NotFound, "sudo is missing on mac (ann@mac.home.arpa)"),
    "sudo": ("sudo: a password is required\n", NotPermitted, "sudo on mac (ann@mac.home.arpa) wants a password"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_failure_is_a_sentence_with_a_next_step(name: str) -> None:
    said, kind, sentence = CASES[name]
    error = failure(FAR, said)
    assert type(error).__mro__.index(kind) >= 0
    assert error is not None
    assert sentence in error.message
    assert error.hint


def test_a_changed_key_is_not_taken_for_an_unknown_one() -> None:
    error = failure(FAR, CHANGED)
    assert error is not None
    assert error.hint == "if it was installed anew: ssh-keygen -R mac.home.arpa; ssh ann@mac.home.arpa true"


def test_words_of_the_command_itself_are_not_ours() -> None:
    assert failure(FAR, "cat: /etc/shadow: no such file\n") is None


def test_words_that_nobody_knows_are_passed_on() -> None:
    assert unexplained(FAR, "line one\nprotocol 3.1 mismatch\n").message.endswith("failed: protocol 3.1 mismatch")


def test_what_a_command_run_by_sudo_says_is_not_taken_for_ssh() -> None:
    assert of_sudo(FAR, "Failed to start rbee-pool.service: Connection timed out\n") is None
    refused = of_sudo(FAR, "sudo: a password is required\n")
    assert type(refused) is NotPermitted
