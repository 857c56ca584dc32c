"""Sentences in four languages, as a transcript has them, with and without personal numbers and addresses.

All data is invented: test numbers of card companies, numbers that are reserved for examples, banks' example IBANs. What
must be masked is in brackets: ``[…]``. Some sentences are known to be missed: the page says how many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

LANGUAGES = ("English", "German", "Spanish", "French")
KINDS = ("card numbers", "phone numbers", "e-mail addresses", "IBANs")

_ENGLISH = {
    "card numbers": """
My card is [4111 1111 1111 1111].
Yes, it's [5500-0000-0000-0004], and it expires in March.
It's [four one one one, one one one one, one one one one, one one one one].
The number is [forty-one eleven, eleven eleven, eleven eleven, eleven eleven], okay?
Sure. [Five five, double zero, double zero, double zero, triple zero, oh oh oh oh four].
American Express, [3782 822463 10005].
I think it is [4111 1111 1111 1171]. Does that work?
[4111, 1111, uh, 1111, and then 1111]. Got it?
[Forty-one hundred, eleven eleven, eleven eleven, eleven eleven].
The first half is [4111 1111] and the second half is [1111 1111].
""",
    "phone numbers": """
You can reach me at [202-555-0143].
Call me back on [+44 20 7946 0123], please.
My number is [two oh two, five five five, oh one four three].
It's [plus four four, seven seven double zero, nine double zero one two three].
Ring [07700 900123] after six.
[(212) 555-0187] is my office.
Just dial [555-0143].
My mobile: [oh seven seven double oh, nine hundred, one two three].
""",
    "e-mail addresses": """
Write to [jane.doe@example.com].
It's [jane dot doe at example dot com].
Send it to [j.doe+travel@mail.example.org], thanks.
[J O H N at example dot co dot uk].
My address is [jane underscore doe at example dot com].
That would be [info at blue-river dot example dot com].
It's [jane at Blue River dot com].
[Jane Doe, one word, at example dot com].
""",
    "IBANs": """
My IBAN is [GB82 WEST 1234 5698 7654 32].
It's [GB82WEST12345698765432].
Sure, [G B eight two, W E S T, one two three four, five six nine eight, seven six five four, three two].
Please pay into [DE89 3704 0044 0532 0130 00].
[D E eighty-nine, three seven zero four, zero zero four four, zero five three two, zero one three zero, zero zero].
[Golf Bravo eight two, Whiskey Echo Sierra Tango, one two three four, five six nine eight, seven six five four, three two].
""",  # noqa: E501 - one sentence, one line
    "": """
We have rooms 201, 202 and 203 on the second floor.
The flight leaves at 10:45 on 2026-03-14 and lands at 14:20.
That's $1,299.99 for two nights, or 2,450 points.
Your booking code is K7QX2M.
It is seventy-two degrees, with a chance of rain of forty percent.
I am at home. Tomorrow I fly at nine.
Take bus twelve, then walk two hundred meters.
There are 3 adults, 2 children and 1 dog.
Look at this. Come at six.
Version 3.11.7 was released on 10/04/2023.
Our address is 221 Baker Street, apartment 4, floor 12.
One, two, three, four, five, six, seven. Ready or not!
She scored 98, 97 and 99 points.
The order number is 83310.
Is it four or five? One moment.
The distance is 384,400 kilometers.
""",
}
_GERMAN = {
    "card numbers": """
Meine Karte ist die [4111 1111 1111 1111].
Ja, [5500-0000-0000-0004], gültig bis März.
Das ist [vier eins eins eins, eins eins eins eins, eins eins eins eins, eins eins eins eins].
Die Nummer lautet [einundvierzig elf, elf elf, elf elf, elf elf], in Ordnung?
[Fünf fünf null null, null null null null, null null null null, null null null vier].
American Express, [3782 822463 10005].
Ich glaube, [4111 1111 1111 1171]. Geht das?
[4111, 1111, äh, 1111 und dann 1111]. Haben Sie das?
[Viertausendeinhundertelf, elf elf, elf elf, elf elf].
Die erste Hälfte ist [4111 1111], die zweite Hälfte ist [1111 1111].
""",
    "phone numbers": """
Sie erreichen mich unter [030 23125 014].
Rufen Sie mich unter [+49 171 3920014] zurück.
Meine Nummer ist [null eins sieben eins, drei neun zwei null null eins vier].
Das ist [plus vier neun, dreißig, zwei drei eins zwei fünf null eins vier].
Meine Handynummer: [0171 39 20 014].
[(0221) 4710 123] ist das Büro.
Intern wählen Sie nur [23125].
[Null eins einundsiebzig, neununddreißig, zwanzig, null vierzehn].
""",
    "e-mail addresses": """
Schreiben Sie an [erika.mustermann@example.com].
Das ist [erika punkt mustermann at example punkt com].
Bitte an [e.mustermann+reise@mail.example.org], danke.
[Max ät beispiel punkt de].
Meine Adresse ist [erika unterstrich mustermann at example punkt com].
[Info Klammeraffe blau-wasser punkt de].
[Erika at Blaues Wasser punkt de].
[Erika Mustermann, zusammengeschrieben, at example punkt com].
""",
    "IBANs": """
Meine IBAN ist [DE89 3704 0044 0532 0130 00].
Das ist [DE89370400440532013000].
[D E acht neun, drei sieben null vier, null null vier vier, null fünf drei zwei, null eins drei null, null null].
[DE neunundachtzig, siebenunddreißig null vier, null null vierundvierzig, null fünf zweiunddreißig, null eins dreißig, null null].
Bitte an [AT61 1904 3002 3457 3201] überweisen.
[Dora Emil acht neun, drei sieben null vier, null null vier vier, null fünf drei zwei, null eins drei null, null null].
""",  # noqa: E501 - one sentence, one line
    "": """
Wir haben die Zimmer 201, 202 und 203 im zweiten Stock.
Der Flug geht um 10:45 Uhr am 14.03.2026 und landet um 14:20 Uhr.
Das macht 1.299,99 Euro für zwei Nächte.
Ihr Buchungscode ist K7QX2M.
Es sind zweiundzwanzig Grad, die Wahrscheinlichkeit für Regen ist vierzig Prozent.
Ich bin zu Hause. Morgen fliege ich um neun.
Nehmen Sie Bus zwölf, dann sind es zweihundert Meter.
Das sind 3 Erwachsene, 2 Kinder und 1 Hund.
Ein Punkt noch: Kommen Sie um sechs.
Version 3.11.7 erschien am 10.04.2023.
Die Adresse ist Hauptstraße 221, Wohnung 4, 10115 Berlin.
Eins, zwei, drei, vier, fünf, sechs, sieben. Ich komme!
Sie hat 98, 97 und 99 Punkte.
Die Bestellnummer ist 83310.
Sind es vier oder fünf? Einen Moment.
Die Entfernung ist 384.400 Kilometer.
""",
}
_SPANISH = {
    "card numbers": """
Mi tarjeta es la [4111 1111 1111 1111].
Sí, [5500-0000-0000-0004], y caduca en marzo.
Es [cuatro uno uno uno, uno uno uno uno, uno uno uno uno, uno uno uno uno].
El número es [cuarenta y uno once, once once, once once, once once], ¿vale?
[Cinco cinco cero cero, cero cero cero cero, cero cero cero cero, cero cero cero cuatro].
American Express, [3782 822463 10005].
Creo que es [4111 1111 1111 1171]. ¿Funciona?
[4111, 1111, eh, 1111 y luego 1111]. ¿Lo tiene?
[Cuatro mil ciento once, once once, once once, once once].
La primera mitad es [4111 1111] y la segunda mitad es [1111 1111].
""",
    "phone numbers": """
Me puede llamar al [612 34 56 78].
Llámeme al [+34 910 123 456], por favor.
Mi número es [seis uno dos, tres cuatro, cinco seis, siete ocho].
Es [más tres cuatro, nueve uno cero, uno dos tres, cuatro cinco seis].
Llame al [910 12 34 56] después de las seis.
[(91) 0123456] es mi oficina.
Marque solo el [3456].
[Seiscientos doce, treinta y cuatro, cincuenta y seis, setenta y ocho].
""",
    "e-mail addresses": """
Escriba a [juan.perez@example.com].
Es [juan punto perez arroba example punto com].
Envíelo a [j.perez+viaje@mail.example.org], gracias.
[Ana arroba ejemplo punto es].
Mi dirección es [juan guion bajo perez arroba example punto com].
[Info arroba rio-azul punto es].
[Ana arroba Río Azul punto es].
[Juan Pérez, todo junto, arroba example punto com].
""",
    "IBANs": """
Mi IBAN es [ES91 2100 0418 4502 0005 1332].
Es [ES9121000418450200051332].
[E S nueve uno, dos uno cero cero, cero cuatro uno ocho, cuatro cinco cero dos, cero cero cero cinco, uno tres tres dos].
[ES noventa y uno, veintiuno cero cero, cero cuatro dieciocho, cuarenta y cinco cero dos, cero cero cero cinco, trece treinta y dos].
Por favor, a la cuenta [DE89 3704 0044 0532 0130 00].
[E de España, S nueve uno, dos uno cero cero, cero cuatro uno ocho, cuatro cinco cero dos, cero cero cero cinco, uno tres tres dos].
""",  # noqa: E501 - one sentence, one line
    "": """
Tenemos las habitaciones 201, 202 y 203 en la segunda planta.
El vuelo sale a las 10:45 del 14/03/2026 y llega a las 14:20.
Son 1.299,99 euros por dos noches.
Su código de reserva es K7QX2M.
Hace veintidós grados, con una probabilidad de lluvia del cuarenta por ciento.
Estoy en casa. Mañana vuelo a las nueve.
Tome el autobús doce y camine doscientos metros.
Son 3 adultos, 2 niños y 1 perro.
Un punto más: venga a las seis.
La versión 3.11.7 salió el 10/04/2023.
La dirección es calle Mayor 221, piso 4, 28013 Madrid.
Uno, dos, tres, cuatro, cinco, seis, siete. ¡Ya voy!
Ella tiene 98, 97 y 99 puntos.
El número de pedido es 83310.
¿Son cuatro o cinco? Un momento.
La distancia es de 384.400 kilómetros.
""",
}
_FRENCH = {
    "card numbers": """
Ma carte est la [4111 1111 1111 1111].
Oui, [5500-0000-0000-0004], elle expire en mars.
C'est [quatre un un un, un un un un, un un un un, un un un un].
Le numéro est [quarante et un onze, onze onze, onze onze, onze onze], d'accord ?
[Cinq cinq zéro zéro, zéro zéro zéro zéro, zéro zéro zéro zéro, zéro zéro zéro quatre].
American Express, [3782 822463 10005].
Je crois que c'est [4111 1111 1111 1171]. Ça marche ?
[4111, 1111, euh, 1111 et puis 1111]. Vous l'avez ?
[Quatre mille cent onze, onze onze, onze onze, onze onze].
La première moitié est [4111 1111] et la seconde moitié est [1111 1111].
""",
    "phone numbers": """
Vous pouvez me joindre au [01 99 00 12 34].
Rappelez-moi au [+33 6 39 98 12 34], s'il vous plaît.
Mon numéro est le [zéro six, trente-neuf, quatre-vingt-dix-huit, douze, trente-quatre].
C'est le [plus trois trois, six, trente-neuf, quatre-vingt-dix-huit, soixante-dix, quatre-vingts].
Mon portable : [06.39.98.71.95].
[0033 1 99 00 12 34], c'est le bureau.
Faites seulement le [3456].
[Zéro un, quatre-vingt-dix-neuf, zéro zéro, soixante et onze, nonante-deux].
""",
    "e-mail addresses": """
Écrivez à [jeanne.petit@example.com].
C'est [jeanne point petit arobase example point com].
Envoyez-le à [j.petit+voyage@mail.example.org], merci.
[Jeanne at exemple point fr].
Mon adresse est [jeanne tiret bas petit arobase example point com].
[Info arobase eau-bleue point fr].
[Jeanne arobase Eau Bleue point fr].
[Jeanne Petit, en un mot, arobase example point com].
""",
    "IBANs": """
Mon IBAN est le [FR14 2004 1010 0505 0001 3M02 606].
C'est le [FR1420041010050500013M02606].
[F R un quatre, deux zéro zéro quatre, un zéro un zéro, zéro cinq zéro cinq, zéro zéro zéro un, trois M zéro deux, six zéro six].
[FR quatorze, vingt zéro quatre, dix dix, zéro cinq zéro cinq, zéro zéro zéro un, trois M zéro deux, six zéro six].
Sur le compte [BE68 5390 0754 7034], s'il vous plaît.
[F comme François, R quatorze, vingt zéro quatre, dix dix, zéro cinq zéro cinq, zéro zéro zéro un, trois M zéro deux, six zéro six].
""",  # noqa: E501 - one sentence, one line
    "": """
Nous avons les chambres 201, 202 et 203 au deuxième étage.
Le vol part à 10:45 le 14/03/2026 et arrive à 14:20.
Cela fait 1 299,99 euros pour deux nuits.
Votre code de réservation est K7QX2M.
Il fait vingt-deux degrés, avec un risque de pluie de quarante pour cent.
Je suis chez moi. Demain je pars à neuf heures.
Prenez le bus douze, puis marchez deux cents mètres.
Il y a 3 adultes, 2 enfants et 1 chien.
Encore un point : venez à six heures.
La version 3.11.7 est sortie le 10/04/2023.
L'adresse est 221 rue de la Paix, appartement 4, 75002 Paris.
Un, deux, trois, quatre, cinq, six, sept. J'arrive !
Elle a 98, 97 et 99 points.
Le numéro de commande est le 83310.
C'est quatre ou cinq ? Un instant.
La distance est de 384 400 kilomètres, et elle est née en mille neuf cent quatre-vingt-quatre.
""",
}


@dataclass(frozen=True)
class Example:
    """A sentence; ``secrets`` are begin and end of what must be masked. ``kind`` is empty if there is nothing."""

    language: str
    kind: str
    text: str
    secrets: tuple[tuple[int, int], ...]


def examples() -> list[Example]:
    """Returns all sentences."""
    return examples_of(zip(LANGUAGES, (_ENGLISH, _GERMAN, _SPANISH, _FRENCH), strict=True))


def examples_of(languages: Iterable[tuple[str, Mapping[str, str]]]) -> list[Example]:
    """Returns the sentences of each language, given as lines by kind, in which brackets mark what must be masked."""
    return [
        _example(language, kind, line)
        for language, kinds in languages
        for kind, lines in kinds.items()
        for line in lines.strip().splitlines()
    ]


def _example(language: str, kind: str, line: str) -> Example:
    text, secrets = "", []
    for piece in re.split(r"(\[[^]]*\])", line):
        if piece.startswith("["):
            secrets.append((len(text), len(text) + len(piece) - 2))
        text += piece.strip("[]")
    return Example(language, kind, text, tuple(secrets))


def is_found(example: Example, spans: list[tuple[int, int]]) -> bool:
    """Tells whether every letter and digit that must be masked is masked."""
    masked = {place for begin, end in spans for place in range(begin, end)}
    return all(
        place in masked or not example.text[place].isalnum()
        for begin, end in example.secrets
        for place in range(begin, end)
    )


def table(spans_of: Callable[[str], list[tuple[int, int]]], sentences: Sequence[Example]) -> list[str]:
    """Returns the rows of a table in docs/privacy.md: found and all of each kind, and sentences masked wrongly."""
    rows = []
    for kind in (*KINDS, ""):
        cells = []
        for language in dict.fromkeys(each.language for each in sentences):
            those = [each for each in sentences if (each.language, each.kind) == (language, kind)]
            if kind:
                hits = sum(is_found(each, spans_of(each.text)) for each in those)
            else:
                hits = sum(bool(spans_of(each.text)) for each in those)
            cells.append(f"{hits} of {len(those)}")
        rows.append(f"| {kind or 'masked, although there is nothing'} | {' | '.join(cells)} |")
    return rows
