# Where a daemon listens, as systemd writes it and as a URL. `part` is services.rbee.queen or services.rbee.pool.
{ lib }:
let
  bracketed = address: if lib.hasInfix ":" address then "[${address}]" else address;
in
rec {
  isLoopback = address: lib.hasPrefix "127." address || address == "::1";
  isEvery =
    address:
    builtins.elem address [
      "0.0.0.0"
      "::"
    ];
  socket = part: "${bracketed part.listen}:${toString part.port}";
  # How this host itself reaches the daemon: by the name in its certificate where it has one.
  here =
    part:
    if part.tls.certFile != null && part.url != null then
      part.url
    else
      "http://${if isEvery part.listen then "127.0.0.1" else bracketed part.listen}:${toString part.port}";
  hostOf = url: builtins.head (builtins.match "https?://([^/:]+|\\[[^]]*])(:[0-9]+)?(/.*)?" url);
  # Whether a URL names this host's loopback.
  isHere = url: builtins.match "https?://(localhost|127\\.[0-9.]+|\\[::1])(:[0-9]+)?(/.*)?" url != null;
}
