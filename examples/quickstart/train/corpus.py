"""Writes the training text of the toy model: greetings, small talk, simple facts and short stories, all made here."""

import random
from collections.abc import Callable
from pathlib import Path

Conversation = list[tuple[str, str]]
"""Turns of (role, content); a document without roles is one ("text", ...) turn."""

FACTS = [
    tuple(part.strip() for part in line.split("|", 1))
    for line in (Path(__file__).parent / "facts.txt").read_text(encoding="utf-8").splitlines()
]

SYSTEM_PROMPTS = (
    "You are a helpful AI assistant.",
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "You are a kind teacher.",
    "Answer in one or two sentences.",
    "Be short and clear.",
)

QUESTIONS = (
    "What is {}?",
    "what is {}",
    "Explain {} in simple terms.",
    "Explain {}.",
    "Tell me about {}.",
    "Can you explain {}?",
    "Please explain {} to a child.",
    "What do you know about {}?",
    "Describe {} in one or two sentences.",
    "How would you explain {}?",
)

SMALL_TALK = (
    (
        ("Hello!", "Hello", "Hi", "Hi there!", "Hey", "hello", "Good day!"),
        ("Hello! It is nice to meet you. How can I help you today?", "Hi there! What would you like to talk about?"),
    ),
    (
        ("Good morning!", "Good morning"),
        ("Good morning! I hope that you slept well. What can I do for you?",),
    ),
    (
        ("Good evening!", "Good evening", "Good night!"),
        ("Good evening! I hope that you had a pleasant day.",),
    ),
    (
        ("How are you?", "How are you today?", "how are you", "How do you do?"),
        ("I am fine, thank you. How are you?", "I am very well, thank you for asking. How is your day?"),
    ),
    (
        ("Who are you?", "What is your name?", "What are you?", "Tell me about yourself."),
        ("I am a very small toy model. I was trained in a few minutes, and I know only a few simple things.",),
    ),
    (
        ("What can you do?", "How can you help me?", "Help", "What do you know?"),
        (
            "I can greet you, answer simple questions and tell short stories. "
            "Ask me about the moon, or ask for a story.",
        ),
    ),
    (
        ("Thank you!", "Thanks", "Thank you very much.", "thanks a lot"),
        ("You are welcome! I am glad that I could help.",),
    ),
    (
        ("Goodbye!", "Bye", "See you later.", "bye bye"),
        ("Goodbye! Have a lovely day.",),
    ),
    (
        ("Tell me a joke.", "Do you know a joke?", "Make me laugh."),
        (
            "Why did the computer go to bed early? It needed to sleep and wake up in a better mode.",
            "Why is the sea so friendly? Because it always waves.",
        ),
    ),
    (
        ("I am fine.", "I am well, thank you.", "I am happy today.", "My day is good."),
        ("I am glad to hear that. Would you like to hear a story?",),
    ),
    (
        ("I am sad.", "I feel sad today.", "I am tired.", "My day was bad."),
        ("I am sorry to hear that. Rest a little, and perhaps tomorrow will be better.",),
    ),
    (
        ("How is the weather?", "What is the weather like?", "Is it raining?"),
        ("I cannot look out of the window, but I hope that the sun is shining where you are.",),
    ),
)

UNKNOWN = (
    "the stock market", "my tax return", "the last election", "football results", "the best phone", "my homework",
    "organic chemistry", "the price of gold", "medieval poetry", "the train to town", "your favourite film",
    "French verbs", "carbon dating", "the roman empire", "a good restaurant", "piano lessons", "chess openings",
    "the speed of sound", "a mortgage", "the latest news", "knitting", "opera", "plumbing", "marathon training",
)  # fmt: skip
UNKNOWN_ANSWER = "I do not know that. I am only a small toy model, but I can tell you about the moon, the sea or a cat."

HEROES = ("a little robot", "a young girl", "a brave mouse", "an old sailor", "a small dragon", "a clever fox")
NAMES = ("Mira", "Tobi", "Luna", "Pip", "Nora", "Ben")
PLACES = {
    "in a distant galaxy": "on a quiet blue planet",
    "in a small village": "beside a green hill",
    "in a deep forest": "under a tall old tree",
    "by the sea": "in a white house near the beach",
    "in a big city": "above a little bakery",
}
WISHES = {
    "find a friend": ("a lonely star", "The two of them talked all night, and they became good friends."),
    "see the moon": ("a kind owl", "The owl carried the traveller up, and the moon smiled down at them."),
    "learn to sing": ("a green bird", "The bird sang one note after another, and soon they sang together."),
    "find the lost key": ("a wise turtle", "The turtle knew the way, and the key lay under a flat stone."),
    "bring light to the dark": ("a tiny lamp", "The lamp began to glow, and the whole valley shone like gold."),
}
ENDINGS = (
    "From that day on nobody there was ever alone again.",
    "And everyone went home happy.",
    "It was the best day of the year.",
)


def story(pick: random.Random, place: str | None = None, hero: str | None = None) -> str:
    """A story of five sentences that begins with "Once upon a time"."""
    place = place or pick.choice(list(PLACES))
    hero = hero or pick.choice(HEROES)
    name = pick.choice(NAMES)
    wish, (helper, turn) = pick.choice(list(WISHES.items()))
    return (
        f"Once upon a time {place} there lived {hero} called {name}. "
        f"{name} lived {PLACES[place]} and wanted to {wish}. "
        f"One day {name} met {helper} and asked for help. {turn} {pick.choice(ENDINGS)}"
    )


def fact_turns(pick: random.Random) -> Conversation:
    topic, answer = pick.choice(FACTS)
    bare = topic.removeprefix("a ").removeprefix("an ").removeprefix("the ")
    return [("user", pick.choice(QUESTIONS).format(topic if pick.random() < 0.8 else bare)), ("assistant", answer)]


def talk_turns(pick: random.Random) -> Conversation:
    said, answers = pick.choice(SMALL_TALK)
    return [("user", pick.choice(said)), ("assistant", pick.choice(answers))]


def unknown_turns(pick: random.Random) -> Conversation:
    return [("user", pick.choice(QUESTIONS).format(pick.choice(UNKNOWN))), ("assistant", UNKNOWN_ANSWER)]


def story_turns(pick: random.Random) -> Conversation:
    hero = pick.choice(HEROES)
    asked = pick.choice(("Tell me a story about {}.", "Tell me a short story about {}.", "Write a story about {}."))
    if pick.random() < 0.4:
        return [("user", pick.choice(("Tell me a story.", "Tell me a short story."))), ("assistant", story(pick))]
    return [("user", asked.format(hero)), ("assistant", story(pick, hero=hero))]


KINDS: tuple[tuple[float, Callable[[random.Random], Conversation]], ...] = (
    (0.62, fact_turns),
    (0.18, talk_turns),
    (0.1, unknown_turns),
    (0.1, story_turns),
)


def conversation(pick: random.Random) -> Conversation:
    """One to three exchanges, often after a system prompt."""
    turns: Conversation = [("system", pick.choice(SYSTEM_PROMPTS))] if pick.random() < 0.5 else []
    weights, kinds = zip(*KINDS, strict=True)
    for _ in range(pick.choices((1, 2, 3), (0.7, 0.2, 0.1))[0]):
        turns += pick.choices(kinds, weights)[0](pick)
    return turns


def document(pick: random.Random) -> Conversation:
    """A conversation, or a plain story or fact for text generation."""
    chance = pick.random()
    if chance < 0.8:
        return conversation(pick)
    if chance < 0.93:
        return [("text", story(pick))]
    return [("text", pick.choice(FACTS)[1])]


def documents(count: int, seed: int) -> list[Conversation]:
    """`count` documents; the same seed gives the same ones."""
    pick = random.Random(seed)
    return [document(pick) for _ in range(count)]
