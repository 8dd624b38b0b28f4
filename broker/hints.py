"""What an operator may do about data that cannot be used: the ends of many an error's words."""

REPLACE = "put a backup in its place, or move it away to begin anew"
OPENABLE = "it has to be a file that you may open"
ELSEWHERE = "give the broker's --port, or its --data-dir"
ELSEWHERE_ON_DISK = "give one on another file system with --data-dir"
