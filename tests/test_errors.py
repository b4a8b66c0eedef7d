"""Lines for people: printable, and short however long a value is."""

from seqmnist.errors import MAX_LINE, UserError, brief, one_line_errors, tell


def test_what_a_file_says_does_not_reach_the_terminal_as_it_is(capsys):
    tell("is \x1b[2J\nerror: all is lost\u202e")
    assert capsys.readouterr().err == r"is \x1b[2J\nerror: all is lost\u202e" + "\n"


def test_of_a_long_line_the_middle_is_left_out():
    text = f"--units: found '{'x' * 10**6}'; expected a number"
    assert brief("a" * MAX_LINE) == "a" * MAX_LINE
    assert brief(text).startswith("--units: found 'xxx")
    assert brief(text).endswith("xxx'; expected a number") and " ... " in brief(text)
    assert len(brief(text)) == MAX_LINE + len(" ... ")


def test_an_error_is_not_as_long_as_its_value(capsys):
    def fail(argv):
        raise UserError("x" * 10**5)

    assert one_line_errors(fail)([]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: xxx") and len(line) < MAX_LINE + 10
