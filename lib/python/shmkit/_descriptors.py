"""Descriptors that are pickled for a child process, as multiprocessing passes them on."""

from multiprocessing import context, reduction


def give(descriptor):
    """Returns an object that is pickled; its detach() gives the descriptor in the child.

    A descriptor that is given several times to one child is passed once: the second time would be
    an error of fork_exec(), which wants each only once.
    """
    popen = context.get_spawning_popen()
    given = getattr(popen, "_fds", [])
    if descriptor not in given:
        return reduction.DupFd(descriptor)
    is_spawn = popen.DupFd(0).__class__.__module__.endswith("popen_spawn_posix")
    return popen.DupFd(descriptor if is_spawn else given.index(descriptor))
