"""Which GPU a run sees. Free of torch, which must be imported afterwards."""

from collections.abc import Mapping

from finetune.config import ConfigError

VISIBLE, PROCESSES = "CUDA_VISIBLE_DEVICES", "WORLD_SIZE"
CUDA = "cuda"
ENDS_THE_LIST = ("", "-1")  # as CUDA reads it


def one_gpu(device: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The device under the name that it has once no other GPU is seen, and the variables that make it so.

    The Trainer takes all GPUs that it sees, and the first of them whatever the model lies on; so a run on one process
    sees one alone. Each of several processes that a launcher started has its own, by its number.

    Args:
        device: of the configuration.
        environment: of this process; GPUs are counted among those that it allows.

    Raises:
        ConfigError: a GPU that is not among them, or one for all of several processes.
    """
    if not device.startswith((CUDA, "auto")):
        return device, {}
    name, _, number = device.partition(":")
    if int(environment.get(PROCESSES, "1")) > 1:
        if number:
            raise ConfigError(f"device: each process has a GPU of its own, and {device} is one; give auto, cuda or cpu")
        return device, {}
    if VISIBLE not in environment:
        return name, {VISIBLE: number or "0"}
    allowed: list[str] = []
    for one in environment[VISIBLE].split(","):
        if one.strip() in ENDS_THE_LIST:
            break
        allowed.append(one.strip())
    if int(number or 0) < len(allowed):
        return name, {VISIBLE: allowed[int(number or 0)]}
    if number:
        raise ConfigError(f"device: {device} is not among the {len(allowed)} GPUs of {VISIBLE}={environment[VISIBLE]}")
    return device, {}  # none may be seen; loading the base says so where CUDA is asked for
