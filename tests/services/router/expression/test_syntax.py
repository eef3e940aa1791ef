"""Finding every expression of a tree, and what its place says about it."""

import pytest

from services.router.expression import compile_tree, walk

pytestmark = pytest.mark.unit


def test_every_expression_is_found_with_its_place_an_outer_one_first() -> None:
    tree = compile_tree(
        {
            "text": "${input.template | About ${input.topic}}",
            "messages": [{"content": "Say: ${input.a}"}, {"content": "${input.b} ${input.c}"}],
            "item": "${input.list[${input.n | ${index}}]}",
            "plain": "nothing $${here}",
        }
    )
    found = [
        (
            ".".join(map(str, use.location)),
            use.expression.text,
            {name for name in ("whole", "only", "in_default", "in_index") if getattr(use, name)},
        )
        for use in walk(tree)
    ]
    assert found == [
        ("text", "${input.template | About ${input.topic}}", {"whole", "only"}),
        ("text", "${input.topic}", {"in_default"}),
        ("messages.0.content", "${input.a}", {"only"}),
        ("messages.1.content", "${input.b}", set()),
        ("messages.1.content", "${input.c}", set()),
        ("item", "${input.list[${input.n | ${index}}]}", {"whole", "only"}),
        ("item", "${input.n | ${index}}", {"in_index"}),
        ("item", "${index}", {"in_default", "in_index"}),
    ]
