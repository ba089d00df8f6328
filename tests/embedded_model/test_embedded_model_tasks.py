"""What the keyword baseline understands: tasks by the words of the prompt, forms by its instructions."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.embedded_model.chat import Message
from orchestration.embedded_model.tasks import GENERIC_REPLY, reply
from orchestration.embedded_model.tasks.entity_types import find

EXTRACT = "Extract the named entities of the given type from the text."
ONE_PER_LINE = " Write one entity per line. If there is none, write None."


def ask(system, user):
    return reply([Message("system", system), Message("user", user)] if system else [Message("user", user)])


def entities(text, entity_type, form=ONE_PER_LINE):
    return ask(EXTRACT + form, f"Entity type: {entity_type}\nText: {text}\nEntities:")


@pytest.mark.parametrize(
    ("entity_type", "text", "expected"),
    [
        ("person", "Dr. Ngozi Okafor met Jean-Luc Marchand and Maria von Trapp in Oslo.",
         ["Ngozi Okafor", "Jean-Luc Marchand", "Maria von Trapp"]),
        ("person", "Google CEO Anna Berg resigned; Ms. Vandergelden stays.", ["Anna Berg", "Vandergelden"]),
        ("person", "王小明说他在北京工作。", ["王小明"]),
        ("person", "Профессор Ирина Лапина уехала.", ["Ирина Лапина"]),
        ("organization", "The University of Oslo sued Acme Inc. in May, not Microsoft.",
         ["University of Oslo", "Acme Inc.", "Microsoft"]),
        ("company", "He works for Müller & Sohn GmbH.", ["Müller & Sohn GmbH"]),
        ("location", "We flew from Paris to New York, then drove to Lake Placid.", ["Paris", "New York", "Lake Placid"]),
        ("city", "Norway's capital is Oslo", ["Norway", "Oslo"]),
        ("date", "On March 5, 2024 and 12 May, in 2019, am 3. Oktober 1990, le 1er mai 2020.",
         ["March 5, 2024", "12 May", "2019", "3. Oktober 1990", "1er mai 2020"]),
        ("date", "Invoice of 2024-02-29 and 30.09.2021, room 2024.", ["2024-02-29", "30.09.2021"]),
        ("money", "It cost $1,250.00 or 3.5 million euros; 50 Kč; three thousand pounds; 12万円.",
         ["$1,250.00", "3.5 million euros", "50 Kč", "three thousand pounds", "12万円"]),
        ("job title", "The chief financial officer and the head of research met a software engineer.",
         ["chief financial officer", "head of research", "software engineer"]),
        ("product", "The Samsung Galaxy S24 Ultra beats the iPhone 15 Pro.", ["Samsung Galaxy S24 Ultra", "iPhone 15 Pro"]),
        ("email", "Write to a.b@example.org, not to b@.", ["a.b@example.org"]),
        ("phone number", "Call +44 20 7946 0018 after 5.", ["+44 20 7946 0018"]),
        ("percentage", "Up 3.5 %, down 12 percent.", ["3.5 %", "12 percent"]),
        ("url", "See https://example.org/a?b=1.", ["https://example.org/a?b=1"]),
        ("time", "Doors at 19:30, gates at 7 pm.", ["19:30", "7 pm"]),
    ],
)  # fmt: skip
def test_entities_are_found_by_type(entity_type, text, expected):
    assert entities(text, entity_type).splitlines() == expected


def test_an_entity_is_named_once_and_in_the_order_of_the_text():
    assert entities("Oslo, then Paris, then Oslo again.", "location") == "Oslo\nParis"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (" Separate them with commas.", "Paris, Oslo"),
        (" Use semicolons between them.", "Paris; Oslo"),
        (" Answer with a JSON array.", '["Paris", "Oslo"]'),
        (" Put each on its own line.", "Paris\nOslo"),
        ("", "I found these entities in the text:\n- **Paris**\n- **Oslo**"),
    ],
)
def test_the_instructions_decide_the_form_of_the_answer(form, expected):
    assert entities("From Paris to Oslo.", "location", form) == expected


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("If there is none, write None.", "None"),
        ('If the text has no such entity, return "nothing".', "nothing"),
        ("", "I found no such entities in the text."),
    ],
)
def test_the_instructions_decide_what_stands_for_no_entity(instruction, expected):
    assert entities("it rained all day", "person", f" One per line. {instruction}") == expected


def test_the_type_may_stand_in_the_sentence():
    assert (
        ask("Extract all person names from the text as JSON.", "Anna Berg met Tom Reid.") == '["Anna Berg", "Tom Reid"]'
    )


def test_a_text_that_speaks_of_tasks_is_only_text():
    assert entities("Please summarize this for Anna Berg.\nText: classify it", "person") == "Anna Berg"


@pytest.mark.parametrize(
    "user",
    [
        "How are you?",
        "Entity type: person\nText: Anna Berg met Tom Reid.\nEntities:",
        "Anna Berg met Tom Reid.",
        "",
        "?",
    ],
)
def test_without_a_task_it_says_that_it_sees_none(user):
    assert ask("You are a helpful assistant.", user) == GENERIC_REPLY
    assert ask("", user) == GENERIC_REPLY


SENTENCE = "Your task is to classify a page into one of the following types: Movie, App, Academic or None."
BULLETS = (
    "Choose one of these categories:\n- Movie: a film\n- App: a program to install\n- Academic: a paper\n- None: else\n"
)
FILM = "A comedy directed by Ana Cruz, starring Lee Park; in cinemas now."


@pytest.mark.parametrize("system", [SENTENCE, BULLETS, "Classify as Movie, App, Academic or None."])
@pytest.mark.parametrize(
    ("text", "label"),
    [(FILM, "Movie"), ("Install it on Android or iOS.", "App"), ("Moss grows on stones.", "None")],
)
def test_labels_are_read_from_the_prompt(system, text, label):
    assert ask(system, f"Text: {text}") == label


PAGES = "Classify the page into one of these categories: Movie, App, Academic, Channel, Profile, News, Shop or Other."


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Oak stool, 48.00. Dispatched in two days.", "Shop"),
        ("The bridge was closed on Tuesday, the minister said.", "News"),
        ("A ghost comes home. 97 minutes. Subtitles in Danish.", "Movie"),
        ("Version 2.4.1, 38 MB, works offline.", "App"),
        ("Pages 210-233. Notes and bibliography.", "Academic"),
        ("A new vlog every Thursday, 90 videos so far.", "Channel"),
        ("She studied in Ghent and speaks three languages.", "Profile"),
        ("Height 1.71 m, weight 64.50 kg, humidity 3.75 percent.", "Other"),
        ("Soak the beans overnight.", "Other"),
    ],
)
def test_shapes_and_endings_speak_for_a_label_and_little_evidence_for_none(text, label):
    assert ask(PAGES, f"Text: {text}") == label


def test_the_address_decides_where_the_text_says_little():
    def label(url):
        return ask(PAGES, f"URL: {url}\nText content: Silver birches.\nOUTPUT:")

    assert label("https://paper.example/2031/04/silver-birches") == "News"
    assert label("https://store.example/product/17") == "Shop"
    assert label("https://grove.example/birches") == "Other"


def test_a_word_of_many_labels_says_less_than_a_word_of_one():
    system = "Sort into one of these categories:\n- Red: birds, song\n- Blue: birds, flight\n- Green: birds, eggs\nClassify now."
    assert ask(system, "Text: Birds, birds and more birds, and the eggs.") == "Green"


def test_a_list_of_labels_may_end_with_its_line():
    system = "Classify the ticket.\nCategories: Billing, Technical, Other\nAnswer with the category only."
    assert ask(system, "Text: My card was charged twice on one invoice.") == "Billing"


def test_a_label_of_the_prompt_s_own_is_known_by_its_description():
    system = "Sort into one of these categories:\n- Zorp: gardening, soil and seeds\n- Quux: ships and harbours\nClassify now."
    assert ask(system, "Text: The soil was too wet for the seeds.") == "Zorp"
    assert ask(system, "Text: Two ships left.") == "Quux"


def test_worked_examples_set_the_form_and_decide_unknown_labels():
    def shown(url, text, answer):
        return f"URL: {url}\nText content: {text}\nOUTPUT:\n{answer}\n"

    system = "Classify the page into one of the following types: Alpha, Beta."
    user = (
        "Here are a few examples:\n"
        + shown("https://a.example", "knitting wool sweaters", '{"category": "Alpha", "evidence": "Text content"}')
        + shown("https://b.example", "welding steel bridges", '{"category": "Beta", "evidence": "Both"}')
        + shown("https://c.example", "bridges of welded steel", "")
    )
    answer = json.loads(ask(system, user))
    assert answer["category"] == "Beta"
    assert set(answer) == {"category", "evidence"}


def test_earlier_turns_are_examples_too():
    messages = [
        Message("system", "Classify the text into one of the following types: Alpha, Beta."),
        Message("user", "knitting wool sweaters"),
        Message("assistant", "Alpha"),
        Message("user", "welding steel bridges"),
        Message("assistant", "Beta"),
        Message("user", "a sweater of wool and more wool"),
    ]
    assert reply(messages) == "Alpha"


def test_evidence_says_what_spoke_for_the_label():
    system = SENTENCE + ' Answer in JSON with the keys "category" and "evidence".'
    by_address = json.loads(ask(system, "URL: https://site.example/movie/17\nText content: moss\nOUTPUT:"))
    assert by_address == {"category": "Movie", "evidence": "Url"}
    by_both = json.loads(ask(system, f"URL: https://site.example/movie/17\nText content: {FILM}\nOUTPUT:"))
    assert by_both == {"category": "Movie", "evidence": "Both"}


def test_a_summary_keeps_sentences_in_their_order_and_within_the_words_asked_for():
    text = "The ferry sails at nine. Menu\nIt is red. " + " ".join(
        f"Sentence number {i} is about the ferry." for i in range(40)
    )
    summary = ask("Summarize the following text in at most 20 words.", f"Text: {text}\nSummary:")
    assert summary.startswith("The ferry sails at nine.")
    assert len(summary.split()) <= 20
    assert "Menu" not in summary


def summary_of(text, words=100):
    return ask(f"Summarize the text in at most {words} words.", f"Text: {text}\nSummary:")


def test_a_summary_keeps_title_and_facts_and_leaves_out_what_every_page_has():
    page = (
        "The Long Quay (1961)\nHome | Search | Log in\nWe use cookies to remember you. Accept\nThe Long Quay\nGenre\nDrama\n"
        "Two brothers share a boat.\nFollow us | Press | Careers\nBack to top"
    )
    assert summary_of(page) == "The Long Quay (1961). Genre. Drama. Two brothers share a boat."


def test_what_only_looks_like_a_notice_is_kept():
    text = (
        "Trams without advertisements, gas lamps and forty extras stood on the square since Monday, and nobody minded."
    )
    assert summary_of(text) == text


def test_a_page_of_nothing_but_menus_is_summarised_all_the_same():
    assert summary_of("Home\nNews\nContact") == "Home. News. Contact"


def test_a_question_is_answered_with_a_sentence_of_the_context():
    user = (
        "Context: The ferry leaves at nine. Tickets are sold on board.\nQuestion: When does the ferry leave?\nAnswer:"
    )
    assert ask("Answer the user's question from the context.", user) == "The ferry leaves at nine."


PROMPTS = st.sampled_from([EXTRACT, SENTENCE, "Summarize this.", "Answer the question.", ""])
TEXTS = st.text(st.characters(), max_size=400) | st.text("Aa .,:;\n\"'-é中0$€#*{}/@", max_size=200)


@given(system=PROMPTS, text=TEXTS, entity_type=st.text(max_size=20))
def test_any_text_gets_a_reply_and_the_same_one_again(system, text, entity_type):
    user = f"Entity type: {entity_type}\nQuestion: {entity_type}\nText: {text}\nEntities:"
    answer = ask(system, user)
    assert isinstance(answer, str)
    assert ask(system, user) == answer


KINDS = ["person", "organization", "location", "date", "money", "job title", "product", "time", "email", ""]


@given(text=TEXTS, entity_type=st.sampled_from(KINDS))
def test_entities_stand_in_the_text_and_each_once(text, entity_type):
    found = find(text, entity_type)
    assert all(entity and entity in text for entity in found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "piece", ["1", "1 ", "1,000", "a.", "a-", "A of ", "www.", '"', "\n", "classify as ", "OUTPUT:\n"]
)
@pytest.mark.parametrize("system", [EXTRACT, SENTENCE, "Summarize this.", ""])
def test_a_long_monotonous_text_does_not_hold_the_server_up(system, piece):
    text = piece * (20_000 // len(piece))
    started = time.process_time()
    for entity_type in KINDS if system == EXTRACT else [""]:
        ask(system, f"Entity type: {entity_type}\nText: {text}\nEntities:")
    assert time.process_time() - started < 2.0  # what backtracks without bounds takes ten and more
