"""How tests start a script on several processes of this machine: as users do, with `accelerate launch`."""

import socket
import sys


def launcher(processes: int) -> list[str]:
    """The beginning of a command; `--multi_gpu` is accelerate's word for several processes, CPUs included."""
    if processes == 1:
        return [sys.executable]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no",
        "--num_processes", str(processes), "--main_process_port", str(port),
    ]  # fmt: skip
