"""Short varied sentences for the corpus: a small grammar over word lists, rich in the sounds that move the
lips.

Nothing here is meant to be read for its sense. Each list mixes the vowels and puts P, B, M, W, F, V and the
rounded vowels where ordinary prose is short of them; a seed always gives the same sentences.
"""

from __future__ import annotations

import random
from collections.abc import Iterator


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_LISTS: dict[str, tuple[str, ...]] = {
    "noun": _words(
        """map lamp cup comb boot bottle bubble pepper paper puppy baby bee bamboo pump ramp shop ship
        sheep soap soup movie music mouth mother month moon mop mug museum mayor memory milk mirror
        bridge brush bread butter box boat bird book basket bath beach bean belt bell bench bill board
        bone bowl bucket button bus plum pie pan park path pear pen pencil phone piano picture pig
        pillow pin pipe plan plate pocket pond pool pot potato puddle pudding pup purse wall watch water
        wave web week wheel whistle window wine wing wolf woman wood wool word worm fan farm father
        feather fence ferry film fish flag flame floor flower fog folk forest fox frog fruit van valley
        vase velvet village vine violin voice volume vowel judge jewel joke journey juice chair cheese
        cherry chicken child choir church zoo zebra garage treasure measure vision thumb thing thought
        theatre youth yard yacht uncle umbrella oven owl onion ocean oil oyster oak orange apple apron
        arm ant aunt egg elbow engine evening eye ear east ice ink island hat harbour hammer heart hill
        home hope horse house king key kite kitchen lemon letter light lion loaf lock river road roof
        room rope rose sea sand school shadow shoe silver sister song spoon star stone storm summer sun
        table tea tiger tool town toy train tree cloud coat coin corn cow crab crowd crown dog door
        dream drum duck game garden gate goat gold goose grass noise north nose number nurse queen
        question"""
    ),
    "adjective": _words(
        """big small blue brown black purple pale plump poor proud pleasant plain public busy brave bright
        broken bitter beautiful beige modern muddy mild moist mad magic massive missing warm wet white
        wide wild wise wooden full fresh fine fair false famous far few fierce final flat fond formal
        free funny vague valuable vast very-old vivid loud low loose lucky long light sharp shallow
        short shy simple smooth soft sour strange strong sweet young yellow useful usual unhappy odd old
        open oval orange angry able awful eager early easy empty equal huge humble hungry hollow hot
        cool cold careful cheap cheerful clumsy clever jolly just gentle thick thin thirsty tall tame
        tidy tiny tough true rich ripe rough round royal narrow new noisy normal"""
    ),
    "verb": _words(
        """moved pushed pulled bought built borrowed brought painted packed polished picked placed put
        passed promised prepared pumped mopped mapped mixed measured met made missed melted watched
        washed wanted warmed wrapped waved whispered found followed fixed fed filled folded forgot
        valued viewed visited voted loved lost loaded lifted leaned shared showed shook shouted shaped
        chose chewed chased checked joined judged enjoyed avoided owned opened ordered offered asked ate
        admired allowed improved imagined ignored examined used heard hid held hoped helped cooked
        carried caught called closed covered counted crossed dropped drew dreamed drove gave got grabbed
        guarded kept knew reached read remembered repaired rubbed robbed saw sang sold sent served
        stopped swapped threw thought taught took tapped told turned turned-up"""
    ),
    "plural": _words(
        """maps lamps cups combs boots bottles bubbles papers puppies babies movies mushrooms mountains
        months moments bridges brushes boxes boats birds books beans bells bowls buttons plums pies pans
        pears pens phones pictures pigs pipes plates pots potatoes walls watches waves wheels windows
        women words worms farmers feathers fingers films flowers foxes frogs families voices vines
        valleys villages views judges jewels jokes cherries children choirs churches thumbs things
        thoughts owls onions oysters oranges apples arms ants eggs engines eyes ears islands hats
        hammers hills horses houses kings keys kites lemons letters lions roads roofs rooms ropes roses
        schools shadows shoes songs spoons stars stones storms tables tigers tools towns toys trains
        trees clouds coats coins cows crowds dogs doors dreams drums ducks games gardens gates"""
    ),
    "person": _words(
        """Bob Pam Emma Tom Mum Bobby Poppy Molly Amy Maya Mabel Phoebe Philip Paul Peter Pippa Ben Barbara
        Abby Bill Wendy William Will Owen Olive Oscar Victor Vera Eva Fay Fiona Frank George Joan Joyce
        Jim Jack Charlie Sheila Sean Zoe Ruth Roy Lou Luke Anna Ada Ian Ivy Una Hugh Harry Kim Kate Carl
        Dora Toby my-mother my-father my-uncle the-farmer the-baker the-mayor the-plumber the-bishop
        a-woman a-boy the-team our-neighbour the-family everybody somebody nobody the-old-man
        the-poor-wolf the-captain"""
    ),
    "place": _words(
        """above-the-shop below-the-bridge by-the-pond behind-the-church beside-the-wall near-the-farm
        in-the-museum in-the-woods on-the-boat on-the-map at-the-beach at-home over-the-roof
        under-the-umbrella from-the-village from-the-moon to-the-pub to-the-harbour up-the-hill
        along-the-path among-the-mushrooms before-the-storm between-the-walls in-a-pool-of-mud in-Bombay
        in-Rome in-Europe in-Paris in-Oslo in-Vienna across-the-river around-the-house opposite-the-bank
        upon-the-throne through-the-fog"""
    ),
    "time": _words(
        """on-Monday on-Wednesday on-Friday in-May in-June in-April in-September in-November at-noon
        at-five before-lunch before-supper after-breakfast all-morning every-evening once-a-week
        by-the-weekend tomorrow last-month last-summer this-afternoon tonight for-an-hour for-a-while
        twice-a-year in-the-autumn on-her-birthday just-now at-once by-and-by"""
    ),
    "adverb": _words(
        """slowly simply probably possibly maybe perhaps warmly merely firmly happily humbly bravely
        beautifully barely badly promptly properly very-well usually usefully loudly softly smoothly
        really rarely quite-often always almost already openly oddly eagerly easily hopefully finally
        famously fairly fully vaguely voluntarily thoroughly thoughtfully usually obviously"""
    ),
    "number": _words(
        """two three four five six seven eight nine ten eleven twelve fourteen fifteen twenty-one
        forty-five fifty-five sixty-seven eighty-one ninety-nine a-hundred a-thousand a-million"""
    ),
    "opener": _words(
        """Well, Oh, Maybe Perhaps Now, So, But-of-course Wow, Hm, Please, Yes, No, Remember, Suddenly,
        Finally, By-the-way, In-my-view, If-you-ask-me, Above-all, For-example, To-be-fair, Um, Look,"""
    ),
}

_TEMPLATES = (
    "{opener} {person} {verb} the {adjective} {noun} {place}.",
    "{person} {verb} {number} {adjective} {plural} {time}.",
    "The {noun} and the {noun} {verb} a {adjective} {noun}.",
    "Why would {person} put a {noun} {place}?",
    "Have you ever {verb} a {adjective} {noun}, or {number} {plural}?",
    "{adverb}, {person} {verb} it {place}, and {person} {verb} the {noun}.",
    "I may be {adjective}, but I am not a {noun}.",
    "My {noun} was {adverb} {adjective} {time}.",
    "{time}, {person} {verb} {plural}, {plural} and {plural}.",
    "What a {adjective} {noun} you have {place}!",
    "We {verb} {person} {place} {time}, before the {noun} was {adjective}.",
    "Both {plural} were {adjective}, and the {noun} above them was {adjective}.",
    "Do you prefer {plural}, {plural}, or {adjective} {noun} pie?",
    "A {noun}, a {noun}, a {noun}, and {number} {plural}.",
    "{person} is {number} years old, and {adverb} {adjective}.",
    "Put the {noun} {place} and bring me the {adjective} {noun}.",
    "Maybe {person} and {person} {verb} my {noun} {time}.",
    "{opener} who {verb} the {noun} from the {noun}?",
    "If {person} {verb} {plural}, the {noun} may {adverb} become {adjective}.",
    "The {adjective} {noun} is {place}; the {adjective} {noun} is {place}.",
    "They {adverb} {verb} {number} {plural} {place}, but nobody {verb} the {noun}.",
    "Whoever {verb} this {noun} must have been {adjective}.",
)


def sentences(seed: int) -> Iterator[str]:
    """Endless sentences, the same for the same seed."""
    chance = random.Random(seed)
    while True:
        template = chance.choice(_TEMPLATES)
        parts: list[str] = []
        for piece in template.replace("{", "\0{").replace("}", "}\0").split("\0"):
            if piece.startswith("{"):
                word = chance.choice(_LISTS[piece[1:-1]]).replace("-", " ")
                after_article = bool(parts) and parts[-1].endswith((" a ", "A "))
                if piece in ("{noun}", "{adjective}") and after_article and word[0] in "aeiou":
                    parts[-1] = parts[-1][:-1] + "n "
                parts.append(word)
            else:
                parts.append(piece)
        text = "".join(parts).replace(",,", ",").replace(", .", ".")
        yield text[0].upper() + text[1:]


def utterances(seed: int, most_characters: int = 150) -> Iterator[str]:
    """One to three sentences at a time, so that the pauses between sentences are heard too."""
    chance = random.Random(seed + 1)
    source = sentences(seed)
    while True:
        wanted = chance.choice((1, 1, 2, 2, 3))
        text = next(source)
        for _ in range(wanted - 1):
            more = next(source)
            if len(text) + len(more) > most_characters:
                break
            text = f"{text} {more}"
        yield text
