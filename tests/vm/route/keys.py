"""What the kernel does for a socket."""
SOL_TLS, TLS_TX, TLS_RX = 282, 1, 2


def kernel(sock):
    """It tells version and cipher of the keys that it has, and fails where it has none."""
    does = []
    for name, option in ("tx", TLS_TX), ("rx", TLS_RX):
        try:
            does.append(name if sock.getsockopt(SOL_TLS, option, 4) else "-")
        except OSError:
            does.append("-")
    return "/".join(does)
