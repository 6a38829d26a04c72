"""Lexicon: the real words of the world, by what they are, and words made up of parts of words.

Values of a relation are single words, so that an answer can be found in a reply. Names end in no
"s" and are no words of their own. Half of the open values (what a user may be called, or like) are
invented: only copying gets them right. A few of these stand in a dictionary all the same. An
invented word belongs to one side of the split for good.
"""

from __future__ import annotations

import random
import re

from parrotlet.world.chance import Pool, Side, listed, side_of

SHE = listed(
    "Anna Bella Clara Dora Ella Emma Fiona Gina Hanna Ida Jane Julia Kate Lena Lucy Maria Mina "
    "Nina Nora Olga Paula Petra Rita Rosa Sara Sofia Tina Vera Wanda Zoe Alice Amy Betty Carla "
    "Celia Diana Edith Elsa Eva Flora Greta Helen Irene Jenny Judy Karen Laura Linda Lisa Louise "
    "Mabel Marta Molly Monica Nelly Olivia Polly Ruth Sally Selma Stella Susan Tessa Thea Zelda"
)
HE = listed(
    "Adam Alan Albert Arthur Ben Bruno Carl Colin Conrad Daniel David Edgar Edwin Emil Eric "
    "Ernest Felix Fred Gary George Harry Henry Hugo Ian Igor Isaac Ivan Jacob Jim John Kevin Leo "
    "Leon Luke Martin Max Milo Nathan Ned Noah Olaf Oliver Oscar Otto Paul Peter Philip Ralph "
    "Robert Roger Rolf Sam Simon Steven Tim Toby Tom Victor Walter Edmund Axel Bert Clyde "
    "Duncan Elmer"
)
STRANGERS = Pool(  # people the world does not know: users, and whom one may ask about in vain
    train=listed(
        "Aaron Andy Bernard Bianca Cathy Cecil Daphne Derek Elliot Esther Gloria Gordon Hector "
        "Hilda Jason Joan Kurt Lydia Marcel Miriam Norman Pamela Rachel Sandra Trevor Vivian "
        "Wendy Stefan Marion Hubert"
    ),
    test=listed(
        "Abel Anita Basil Beth Boyd Brenda Clive Corinne Damian Elena Ethel Floyd Gerald Ingrid "
        "Joyce Keith Lionel Lorna Maude Nigel Norbert Odette Percy Regina Roland Sheila Stuart "
        "Tamara Ulrich Yolanda"
    ),
)
PETS = listed(
    "Biscuit Bobbin Bubble Bonbon Coco Cookie Dash Dodo Fidget Fluff Fudge Gizmo Jelly Kiki Lulu "
    "Mimi Misty Momo Muffin Noodle Nugget Pansy Pebble Peppy Pickle Pip Pippin Poppet Pudding "
    "Pucky Rocky Rollo Rusty Scamp Shadow Smoky Snowy Sooty Speckle Sprout Sunny Teddy Tiggy "
    "Tinker Toffee Truffle Tufty Velvet Waffle Whisper Widget Wiggle Zigzag Zippy"
)
TOWN_STARTS = listed(
    "Ash Bram Cold Dun Elm Fern Glen Hol Kirk Lang Mill Nor Oak Pen Rook Stan Thorn Under Wood Yar"
)
TOWN_ENDS = listed("bury by dale field ford ham mere ton wick worth")

JOBS = listed(
    "baker builder carpenter cook dancer doctor driver farmer gardener miller nurse painter potter "
    "sailor singer tailor teacher writer"
)
COLOURS = listed("black blue brown gold green grey orange pink purple red white yellow")
FOODS = listed(
    "apples beans bread cake carrots cheese eggs honey noodles nuts pancakes pears plums rice "
    "salad soup"
)
SPECIES = listed("cat dog donkey duck goat hen horse mouse parrot pig rabbit sheep")
DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
LANDMARKS = listed(
    "bridge castle fountain harbour lake library lighthouse mill statue theatre tower windmill"
)
THINGS = listed(
    "basket bell bike blanket boat box cart chair coat cup drum hat kite ladder lamp tent"
)
SPOTS = listed("attic barn bedroom cellar cupboard garage hall kitchen shed stable")

SPELLED = listed(  # words to spell and to count letters in
    "summer winter spring autumn river forest mountain valley island meadow flower garden window "
    "door table chair bottle basket candle pencil paper letter story number colour music song "
    "dance bread butter cheese honey sugar pepper onion carrot potato tomato apple banana cherry "
    "lemon melon berry chicken rabbit donkey monkey tiger horse sheep goat mouse parrot pigeon "
    "spider beetle butter coffee tea water milk juice cloud rain snow storm thunder rainbow sun "
    "moon star planet morning evening night minute hour week month year mother father sister "
    "brother uncle doctor teacher farmer baker singer sailor painter friend stranger village "
    "city street bridge tower castle market harbour school church library kitchen bedroom cellar "
    "attic roof wall floor ladder hammer needle button ribbon blanket pillow jacket glove boot "
    "shoe stocking hat coat pocket purse ring mirror picture frame clock bell drum trumpet "
    "violin piano whistle kite ball doll puzzle engine wheel wagon boat ship train rocket anchor "
    "compass map lantern tent rope shovel bucket barrel stone metal silver copper golden wooden "
    "little yellow orange purple green happy angry hungry thirsty sleepy clever brave gentle "
    "quiet simple narrow bitter sweet funny lucky pretty tall small large round heavy empty open "
    "broken hidden frozen forty twenty hundred running walking singing reading writing "
    "cooking looking keeper finger elbow shoulder stomach nose mouth tooth hair grass leaf tree "
    "seed root branch acorn feather wing tail horn"
)

SAID = listed("empty evening forest number story week winter")  # words that sentences use

ONSETS = [
    *listed(
        "b c d f g h j k l m n p r s t v w y z br ch cl dr fl fr gl gr kl pl sh sl sn st th tr"
    ),
    *[""] * 4,  # one in ten begins with a vowel, as names do
]
VOWELS = listed("a e i o u a e i o u ai ee ie oa oo ou y")
MIDDLES = listed(
    "b c d f g k l m n p r s t v w y z ch ck dd dg gr ld ll lm mb nd ng nn nt rd rk rl rn rt sh st "
    "th tt zz"
)
CODAS = ["", "", *listed("b ce ch ck d ff k l ll ld m n nd ne nk nt p r rd rt st t te th ve x")]
UGLY = listed(  # parts that no made-up word may have
    "abbo anal arse ass bast bitch boob boong bugg chink clit cock coon crap cuck cum cunt dago "
    "damn dego dick dik dildo dyk fack fag fann fart fatt fec fell feck fok fook fuc fuk gay "
    "gook goy gring gyp heeb hebe hell homo hymi islam jap jew jizz kaff kik klan kock kok kuk "
    "kum kun kyk lesb lez ming munt nazi negr nig paki pedo perv piss poo porn pube pus rap "
    "retar sambo sek sex shar shat shit shyt slag slav slut spic taig tard tit tramp trann turd "
    "twat urin wank whor wog wop yid"
)
IS_UGLY = re.compile("|".join(UGLY))
# whole words that chance could make, and that are no names, or that stand in questions
UNFIT = listed(
    "abort addict bigot bloody booze bottom brothel buttock cannib close coffin cocain corpse "
    "cripp dunce felon goddam heroin hooker hussy idiot killer leper moron murder pillock pimp "
    "prick prude robot sadist satan snuff stoned stoner terror tosser victim wonder zombie"
)


def invent(rng: random.Random, side: Side) -> str:
    """A made-up word of that side, five letters or more, easy to say and no word of the world.

    Half are syllables from a small set; half begin as one real word and end as another, so that
    the pieces a tokenizer cuts real words into are copied and spelled in training too.
    """
    while True:
        if rng.random() < 0.5:
            word = "".join(rng.choice(part) for part in (ONSETS, VOWELS, MIDDLES, VOWELS, CODAS))
        else:
            word = rng.choice(HEADS) + rng.choice(TAILS)
        usable = len(word) > 4 and word not in WORDS and word not in UNFIT and word[-1] != "s"
        if usable and side_of(word) == side and not IS_UGLY.search(word):
            return word


def invent_name(rng: random.Random, side: Side) -> str:
    """An invented word as a name: with a capital letter."""
    return invent(rng, side).capitalize()


def stranger(rng: random.Random, side: Side) -> str:
    """A name the world does not know: a real one or an invented one.

    Training has few real ones, which could be learned by heart, so most of its names are invented.
    """
    real = 0.5 if side == "test" else 0.25
    return STRANGERS.pick(rng, side) if rng.random() < real else invent_name(rng, side)


def with_article(word: str) -> str:
    """The word after "a" or "an"."""
    return f"{'an' if word[0].lower() in 'aeiou' else 'a'} {word}"


_WORLD = (SHE, HE, PETS, JOBS, COLOURS, FOODS, SPECIES, LANDMARKS, THINGS, SPOTS)
_WRITTEN = frozenset(word for words in (*_WORLD, SAID) for word in words)
SPELLING = Pool(  # what a test asks to spell stands nowhere in training
    train=sorted({word for word in SPELLED if word in _WRITTEN or side_of(word) == "train"}),
    test=sorted({word for word in SPELLED if word not in _WRITTEN and side_of(word) == "test"}),
)
_LISTS = (*_WORLD, SPELLED, STRANGERS.train, STRANGERS.test)
WORDS = frozenset(word.lower() for words in _LISTS for word in words)


def _cut(word: str) -> int:
    """Where a word's last vowels begin."""
    found = re.search(r"[aeiouy]+[^aeiouy]*$", word)
    return found.start() if found else 0


_REAL = sorted({word.lower() for words in (SHE, HE, PETS, SPELLING.train) for word in words})
HEADS = sorted({word[: _cut(word)] for word in _REAL if _cut(word) > 1})
TAILS = sorted({word[_cut(word) :] for word in _REAL if _cut(word) > 1})
