"""Every message, language and branch in one book: nothing left out, nothing twice, and what changed said plainly."""

from domain.channel import Channel
from messages import samples
from messages.catalogue import Catalogue
from messages.fault import CopyError
from messages.side_by_side import Band, Book, book, compared, compared_lines
from tests.messages.copies import only, shipped

SMS = "first_notice/sms.en.txt"


def band(made: Book, channel: Channel) -> Band:
    return next(each for each in made.chapters[0].bands if each.channel is channel)


def test_every_text_that_a_sample_becomes_stands_in_the_book_in_every_language() -> None:
    files = only("options")
    catalogue = Catalogue.untried(files)

    made = book(files)

    for (name, channel, locale), template in catalogue.templates.items():
        rows = band(made, channel).rows
        shown = [cell.view.rendered for row in rows for cell in row.cells if cell.locale == locale and cell.view]
        for sample in samples.branches(catalogue.messages[name], locale):
            assert template.render(sample.facts, channel) in shown
        titles = [title for row in rows for title in row.titles]
        assert sorted(titles) == sorted(s.title for s in samples.branches(catalogue.messages[name], locale))
    assert made.findings == ()


def test_rows_that_read_alike_in_every_language_are_one() -> None:
    rows = band(book(only("first_notice")), Channel.PUSH).rows

    assert len(rows) == 1
    assert rows[0].titles[0] == "one debt"
    assert len(rows[0].titles) > 5


def test_copy_that_is_refused_is_shown_all_the_same_with_what_is_wrong_beside_it() -> None:
    threat = shipped()[SMS].replace("has not come in", "has not come in; we will sue")

    made = book(only("first_notice", **{SMS: threat}))

    sms = band(made, Channel.SMS)
    assert "we will sue" in sms.rows[0].cells[0].view.rendered.text
    assert "C12" in {finding.rule for finding in sms.findings["en"]}
    assert made.errors


def test_what_differs_from_the_live_words_is_said_where_it_stands_and_nowhere_else() -> None:
    files = only("first_notice")
    edited = {**files, SMS: files[SMS].replace("has not come in", "is not here yet")}
    edited["first_notice/push.zh-Hans.txt"] = files["first_notice/push.zh-Hans.txt"]

    made = book(edited, live=files)

    changed = {
        (row.cells[0].locale, channel)
        for channel in (Channel.SMS, Channel.EMAIL, Channel.PUSH)
        for row in band(made, channel).rows
        if row.cells[0].since_live
    }
    others = [cell for each in made.chapters[0].bands for row in each.rows for cell in row.cells[1:]]
    assert (made.changed, made.removed) == ((SMS,), ())
    assert changed == {("en", Channel.SMS)}
    assert not any(cell.since_live or cell.is_new for cell in others)
    pieces = band(made, Channel.SMS).rows[0].cells[0].since_live
    assert [(piece.kind, piece.text) for piece in pieces if piece.kind != "same"] == [
        ("gone", "has not come in"), ("new", "is not here yet"),
    ]  # fmt: skip


def test_new_words_and_removed_files_are_named_as_such() -> None:
    files = only("first_notice")
    before = {path: words for path, words in files.items() if path != SMS}

    added, removed = book(files, live=before), book(before, live=files)

    assert band(added, Channel.SMS).rows[0].cells[0].is_new
    assert added.changed == (SMS,)
    assert removed.removed == (SMS,)
    assert band(removed, Channel.SMS).rows[0].cells[0].view is None


def test_files_that_cannot_be_read_and_folders_that_do_not_compile_are_findings() -> None:
    unread = CopyError("first_notice/sms.en.txt", 3, "is not UTF-8", "Save it as UTF-8")

    some = book(only("first_notice"), unread=[unread])
    none = book({"first_notice/sms.en.txt": "Hi"})

    assert [str(finding) for finding in some.findings] == [
        "first_notice/sms.en.txt:3: error COPY: is not UTF-8. Save it as UTF-8"
    ]
    assert (none.chapters, [finding.file for finding in none.findings]) == ((), ["_shared/locales.toml"])


def test_a_comparison_gives_both_texts_back_whole() -> None:
    before, after = "your card payment is due on 10 July.\n\nSoon.", "2 payments are due on 12 July.\n\nTell us.\nSoon."

    pieces = compared(before, after)
    lines = compared_lines(before, after)

    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
    kept = ["".join(piece.text for piece in line if piece.kind != "gone") for line in lines]
    assert "\n".join(kept) == after
