"""NixOS hosts, changed from here: the only door to nix and nixos-rebuild.

``flake`` is what a person names, ``argv`` how programs are asked, both pure; ``here`` runs them on this machine, and
``there`` looks at a host and acts on it over ssh.
"""
