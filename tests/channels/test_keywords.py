"""A reply is read the way its writer meant it, in English and both Chinese scripts, and never too eagerly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.keywords import KEYWORDS, Intent, classify, fold

OPT_OUT = """
STOP | stop | Stop. | "STOP!!!" | ＳＴＯＰ | s t o p | stop all | StopAll | UNSUBSCRIBE | Cancel | END | quit
REVOKE | OPTOUT | opt-out | Opt out | T | TD | 退订 | 退訂 | 退 订 | 【退订】 | ＴＤ | 回复退订 | 取消订阅
拒收 | Stop texting me | Please stop texting me! | pls stop | STOP NOW | stop it | Stop sending these messages
do not contact me again | don't text me | Don’t message this number | never call me again | no more texts please
I don't want any more messages | remove me from your list | Take my number off your list | leave me alone
I revoke my consent | i already paid, stop texting me | i can't pay, please stop messaging me | unsubscribe me
wrong number please stop | you guys need to stop | I paid last week so stop calling me | 不要再发短信了
别再给我发短信 | 別再傳簡訊給我 | 请勿再联系我 | 請勿打擾 | 不要再打電話 | 停止发送 | 别烦我了吧不要再催了
請不要再傳訊息 | 别打扰我 | 不想再收到短信 | stop? | 停止
"""
PAID = """
paid | PAID. | Already paid! | I paid | I've paid | I have already paid this | paid it yesterday | payment sent
I made the payment today | my husband paid it on monday | it was paid last week | 已还 | 已還款 | 已付 | 已缴费
已經繳了 | 我昨天已经还了 | 昨天繳清了 | 剛剛付完了 | 今天早上已轉帳了 | 还清了
"""
HARDSHIP = """
I can't pay | I cannot afford this | can’t pay right now | lost my job last month | Can I get a payment plan?
need more time | can i pay in instalments | can we arrange installments | could I have an extension
I'm in hospital | i will pay next week | 没钱 | 没有钱还 | 我還不出來 | 还不起 | 最近失业了 | 可以分期吗
能不能延期 | 可以晚几天吗 | 有困難 | 下个月再还 | 我想协商 | 周转不过来 | I paid some but can't afford the rest
"""
OTHER = """
ok | thanks | who is this? | ?? | 你是谁 | 谢谢 | 好的 | I can stop by on Friday to talk about it
it is next to the bus stop on main street | please don't stop the direct debit
what happens if I cancel my card and order a new one | have I paid? | not paid yet | I haven't paid
I get paid on Friday | when I get paid | 我还没还 | 还了吗 | 还没付 | I paid twice | 🙂 | 123
Hello, can you call me | I dispute this | 不要停 | this is the end of the month
my account was cancelled by the bank by mistake
"""


def phrases(block: str) -> list[str]:
    return [phrase.strip() for line in block.splitlines() for phrase in line.split("|") if phrase.strip()]


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        (text, intent)
        for intent, block in (
            (Intent.OPT_OUT, OPT_OUT),
            (Intent.PAID, PAID),
            (Intent.HARDSHIP, HARDSHIP),
            (Intent.OTHER, OTHER),
        )
        for text in phrases(block)
    ],
)
def test_a_reply_means_what_its_writer_meant(text: str, intent: Intent) -> None:
    assert classify(text).intent is intent


@pytest.mark.parametrize("text", ["STOP", "退订", "paid", "已还款"])
def test_a_keyword_alone_is_certain(text: str) -> None:
    assert classify(text).is_certain


@pytest.mark.parametrize("text", ["please stop texting me", "stop?", "I paid it yesterday", "没钱", "ok"])
def test_free_text_is_never_certain_so_a_person_looks(text: str) -> None:
    assert not classify(text).is_certain


@given(
    st.sampled_from(sorted(KEYWORDS)), st.sampled_from(["{}", " {} ", "{}.", "{}!!", "【{}】", "\u200b{}\n", "“{}”"])
)
def test_a_keyword_is_known_in_any_case_width_and_wrapping(keyword: str, wrapping: str) -> None:
    loud = wrapping.format(keyword.upper())

    assert classify(loud).intent is KEYWORDS[keyword]


@given(st.text(max_size=200))
def test_any_text_is_read_and_folding_twice_changes_nothing(text: str) -> None:
    classify(text)

    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet="不要再发停止stop paid还了?a '", max_size=3000))
def test_a_hostile_reply_is_read_in_good_time(text: str) -> None:
    classify(text)
