"""The embedded corpus: a seeded generator of a small world in simple English.

    chance      streams of chance by name, and the sides of every split
    lexicon     the words; invented words            phrasing    how anything is asked
    relations   what can be said and asked of people; relations_other: of pets, towns and things
    entities    World: who there is and what is true of them
    stories, documents                               what the world writes down
    case, talk_*                                     one family of conversations a file
    orders      what a system prompt may ask for     records     all of it by kind, and in a mix
    show        samples for a person to read

A new kind of talk is a function (world, chance, side) -> Case in a file of its own, listed in
records.TALKS, and a rule for its replies in parrotlet.tasks.world_grades.RULES.
"""
