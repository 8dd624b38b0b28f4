"""What a script in bash relies on: statuses, its own input, signals, streams that are not there.

Each script runs in one bash, and what it prints tells all that it saw.
"""

from __future__ import annotations

from end_to_end.recipes import heard

TRICKY = [
    "-n",
    '* ~ $HOME `id` $(id) it\'s "q" !! \\ \\n',
    " \ttwo\n\nlines, é\u202e \n\n",
]


def test_a_text_is_what_the_shell_hands_over(shell, broker, tmp_path):
    for number, text in enumerate(TRICKY):
        # The shell takes newlines off the end of what a command prints: "end" keeps them.
        (tmp_path / f"{number}").write_text(text + "end")
    script = """
    for f in *; do x=$(cat "$f"); chat echo -- "${x%end}" || exit; done
    chat echo - <<< "here string"
    chat echo --lines <<END
here document
two   words
END
    chat echo --file <(echo a file)
    printf 'NUL 1\\0NUL -2\\0' | xargs -0 -n1 -P2 chat echo --
    """
    with broker.client("bob") as bob:
        assert shell.script(f"cd {tmp_path}{script}", at=broker) == (0, "", "")
        assert heard(bob) == sorted(
            [*TRICKY, "NUL -2", "NUL 1", "a file", "here document", "here string", "two   words"]
        )


def test_a_shell_reads_what_is_printed(shell, broker):
    with broker.client("alice") as alice:
        for text in ("  one  ", "-n *", "three\n"):
            alice.echo(text)
    script = """
    x=$(chat history --limit 1 --format '{from}: {text}'); echo "<$x>"
    chat listen -0 --since all --count 2 --format '{text}' | xargs -0 -n1 printf '<%s>'
    chat listen -0 --since all --count 2 --format '{text}' |
        while IFS= read -r -d '' x; do printf '<%s>' "$x"; done
    chat history --format '{text}' | while IFS= read -r x; do printf '<%s>' "$x"; done
    coproc LINES { chat join carol; }
    pid=$LINES_PID in=${LINES[1]}
    echo info >&$in; read -r x <&${LINES[0]}; printf '\\n<%s>' "$x"
    exec {in}>&-; wait $pid; echo $?
    """
    done = shell.script(script, at=broker)
    assert done.out.splitlines() == [
        # A newline within a text is escaped, so the shell takes off none of it.
        "<alice: three\\n>",
        "<  one  ><-n *><  one  ><-n *><  one  ><-n *><three\\n>",
        "<* online: carol>0",
    ]
    # Who has all that was wanted before it hears what is new does not say that it does.
    assert (done.status, {*done.err.splitlines()} - {"chat: listening"}) == (0, set())


def test_statuses_are_those_of_a_shell(shell, broker):
    script = """
    chat echo one && chat echo two || echo not this
    chat send nobody x && echo not this || echo "or: $?"
    printf 'x\\0' | xargs -0 -n1 chat send nobody; echo "xargs: $?"
    set -o pipefail
    chat send nobody x | cat; echo "pipefail: $?"
    chat history --format '{text}' | head -n 1; echo "head: $?"
    set -e
    x=$(chat send nobody x); echo not this
    """
    done = shell.script(script, at=broker)
    assert (done.status, done.out) == (6, "or: 6\nxargs: 123\npipefail: 6\none\nhead: 0\n")
    assert done.err == "chat: no such user: nobody\n" * 4


def test_jobs_in_the_background(shell, broker, tmp_path):
    script = """
    mkfifo lines quiet; exec 3<>lines 4<>quiet
    chat echo a & good=$!
    chat send nobody b 2>refused & bad=$!
    chat listen --exec 'sh -c "cat >>heard"' 2>listening & listener=$!
    chat echo --lines --json <lines >said & sender=$!
    nohup chat join carol <quiet >joined 2>&1 & stays=$!
    timeout 1 chat listen >limited 2>&1 & limited=$!
    timeout 1 chat echo --lines <quiet & waiting=$!
    wait $good; echo "good: $?"
    wait $bad; echo "bad: $?"
    until grep -q listening listening && chat info | grep -q carol; do sleep 0.05; done
    kill -HUP $stays
    echo c >&3; until grep -qs c heard && grep -q accepted said; do sleep 0.05; done
    kill $listener $sender $stays
    wait $listener; echo "listener: $?"
    wait $sender; echo "sender: $?"
    wait $stays; echo "nohup: $?"
    wait $limited; echo "limited: $?"
    wait $waiting; echo "waiting: $?"
    cat refused; cat limited joined listening | grep -c Traceback
    """
    done = shell.script(f"cd {tmp_path}\n{script}", at=broker)
    assert done.err == ""
    assert done.out.splitlines() == [
        *("good: 0", "bad: 6", "listener: 0", "sender: 143", "nohup: 143"),
        *("limited: 124", "waiting: 124", "chat: no such user: nobody", "0"),
    ]


def test_a_commands_input_is_the_scripts_own(shell, broker, tmp_path):
    """None of these reads stdin, so the loop sees every line."""
    script = """
    chat join carol </dev/null
    printf 'one\\ntwo\\nthree' | while read -r x || test -n "$x"; do echo "line $x"; case $x in
    one) chat send carol "$x" --as carol; chat history --as carol --with carol --format '{text}'
        chat whoami --as carol ;;
    two) chat listen --since all --for 0.1; chat listen --for 0 --exec cat
        chatbroker check . ;;
    esac; done
    """
    done = shell.script(f"cd {tmp_path}{script}", at=broker)
    assert (done.status, done.out) == (0, "line one\none\ncarol\nline two\nline three\n")
    assert done.err.splitlines()[-1].startswith("chatbroker: there is no journal at journal.db")


def test_streams_that_are_closed_or_full(shell, broker, tmp_path):
    ends = {
        # Nothing is there to be read, and nobody to be told.
        "chat join bob <&- >said": 0,
        "echo info | chat join dave >&-": 0,
        "chat history >&-": 0,
        "chat listen --since all --count 1 <&- >&- 2>&-": 0,
        "chat echo unseen <&- >&- 2>&-": 0,
        "chat send nobody x <&- >&- 2>&-": 6,
        # What could not be printed is a failure; what could not be said of it hides no status.
        "chat history >/dev/full": 1,
        "chat echo unprinted >/dev/full": 0,
        "chat send nobody x 2>/dev/full": 6,
        "chat listen --since all --count 1 --exec cat >/dev/full": 1,
    }
    with broker.client("alice") as alice:
        alice.echo("something")
        running = [
            shell.start("bash", "-c", f"cd {tmp_path}; {script}", at=broker) for script in ends
        ]
        ended = [program.finish() for program in running]
        assert {script: end.status for script, end in zip(ends, ended, strict=True)} == ends
        assert [end.out for end in ended] == [""] * len(ends)
        assert not [end.err for end in ended if "Traceback" in end.err]
        full = "chat: cannot write: No space left on device; what is missing was not printed\n"
        assert dict(zip(ends, ended, strict=True))["chat history >/dev/full"].err == full
        assert heard(alice) == ["something", "unprinted", "unseen"]
