"""How many CPUs the control groups (cgroups) of Linux grant to this process.

Each group may have a quota, and all that is in it has to share it, groups in groups as well: so the least one of
the group that this process is in, and of those around it, counts. Where they are is asked of the kernel, not guessed:
/proc/self/mountinfo says where each hierarchy of groups is mounted, and which group is seen there; /proc/self/cgroup,
in which group we are.
"""

import math
import os

PROC = "/proc/self"


def cpus():
    """CPUs by the least quota, rounded up; unlimited is infinity."""
    groups, all_mounts, least = _groups(), _mounts(), math.inf
    # Of mounts of one kind those that show our group: another one may be somebody else's. If none does (in a container
    # its path may be the host's), they are all that there is to see.
    for kind in ("cgroup2", "cgroup"):
        mounts = [(point, _below(root, groups.get(kind, ""))) for at, root, point in all_mounts if at == kind]
        seen = [(point, below) for point, below in mounts if below is not None]
        for point, below in seen or [(point, "") for point, _ in mounts[:1]]:
            while True:
                least = min(least, _quota(os.path.join(point, below)))
                if not below:
                    break
                below = os.path.dirname(below)
    return math.ceil(least) if least < math.inf else least


def _lines(name):
    try:
        # Paths are bytes, and any of them.
        with open(os.path.join(PROC, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().split("\n")
    except OSError:
        return []


def _groups():
    """The path of our group in the hierarchy of each kind, of version 1 in that which has the cpu."""
    groups = {}
    for line in _lines("cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            groups["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            groups["cgroup"] = path
    return groups


def _mounts():
    """Kind, the group that is seen there, and where, of each hierarchy that may have quotas."""
    mounts = []
    for line in _lines("mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind, options = before.split(" "), after.split(" ")[0], after.split(" ")[-1].split(",")
        if len(fields) > 4 and (kind == "cgroup2" or (kind == "cgroup" and "cpu" in options)):
            mounts.append((kind, *(_unescaped(field) for field in fields[3:5])))
    return mounts


def _unescaped(field):
    for escape, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        field = field.replace(escape, character)
    return field


def _below(root, group):
    """The way from the group `root` down to `group`; None: it is not in there."""
    root, group = root.rstrip("/"), group.rstrip("/")
    inside = group == root or group.startswith(root + "/")
    return group[len(root) :].lstrip("/") if inside and ".." not in group.split("/") else None


def _quota(folder):
    """CPUs that this group grants, by either version's files."""

    def read(name):
        with open(os.path.join(folder, name)) as file:
            return file.read()

    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = map(int, " ".join(map(read, names)).split())
        except (OSError, ValueError):  # not this version, no such group, "max", or not to be read
            continue
        if quota > 0 and period > 0:  # -1: unlimited
            return quota / period
    return math.inf
