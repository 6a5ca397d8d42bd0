"""How many CPUs the control groups (cgroups) of Linux grant to this process.

Groups are nested, and each may have a quota that all processes in it share. So the smallest quota of this process's
group and of the groups around it is the limit. The kernel says where these groups are: /proc/self/mountinfo lists
where each hierarchy of groups is mounted, and which group is the root of the mount; /proc/self/cgroup names the
group of this process.
"""

import math
import os

PROC = "/proc/self"


def cpus():
    """Number of CPUs by the smallest quota, rounded up; infinity without a quota."""
    groups, all_mounts, least = _groups(), _mounts(), math.inf
    # Of the mounts of a kind, use those that contain our group; others may belong to another process. If none contains
    # it (in a container its path may be that of the host), use the root of the first mount.
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
        # Paths may contain any bytes, not only UTF-8.
        with open(os.path.join(PROC, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.read().split("\n")
    except OSError:
        return []


def _groups():
    """Kind -> path of our group: "cgroup2", and "cgroup" (version 1) for the hierarchy of the cpu controller."""
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
    """(kind, root group of the mount, mount point) of each hierarchy that may have quotas."""
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
    """The path of `group` relative to the group `root`; None if it is not inside `root`."""
    root, group = root.rstrip("/"), group.rstrip("/")
    inside = group == root or group.startswith(root + "/")
    return group[len(root) :].lstrip("/") if inside and ".." not in group.split("/") else None


def _quota(folder):
    """Number of CPUs that this group's quota allows, from the files of either version; infinity without a quota."""

    def read(name):
        with open(os.path.join(folder, name)) as file:
            return file.read()

    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = map(int, " ".join(map(read, names)).split())
        except (OSError, ValueError):  # another version, no such group, "max", or not readable
            continue
        if quota > 0 and period > 0:  # -1: unlimited
            return quota / period
    return math.inf
