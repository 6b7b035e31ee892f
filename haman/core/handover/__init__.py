"""The planned move of a VIP that drops nothing: two machines, one on each side.

    giver (holds the VIP)                      taker (shall hold it)
    -----------------------------------------  ------------------------------------------------
    offer ── "I would give web to you" ──────► prepare: forwards what it does not know to the giver
          ◄─────────────────────── "ready" ──  ready
    arm: VIP on lo as well, hears the taker
    take ─────────────── "take it now" ──────► take: active, addresses on the interface, GARP and NA
          (its adverts make the giver yield)
          ◄─────────────────────── "taken" ──  taken
    tail: VIP off the interface, on lo alone   forwards what it does not know to the giver
    done ───────────────── "it is over" ─────► over: forwards no more

Whatever fails before the giver has yielded leaves the giver serving; nothing has happened yet that a
client could see. Both sides say where they are until the other is as far (`Said`), so a lost, late
or repeated message costs time and nothing else, and each step has a deadline.

`giver` and `taker` hold the states, `messages` what they are told and say, `preemption` who lets
whom come back by a handover.
"""
