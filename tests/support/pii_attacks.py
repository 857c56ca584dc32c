"""A second set of sentences for the ready redactor, written to get around it; :mod:`.pii_examples` is the first.

The spellings of transcribers: digits, words and both, "double four", dashes, dots, full-width and Arabic-Indic digits,
addresses that are read out, and numbers that are no personal data. All data is invented, or reserved for examples.
"""

from __future__ import annotations

from tests.support.pii_examples import Example, examples_of

LANGUAGES = ("English", "German", "Spanish", "French", "Italian")

_ENGLISH = {
    "card numbers": """
So that would be [4242.4242.4242.4242], if it helps.
It's [4012 8888 8888 1881], the Visa one.
[four two four two double four two four two no wait four two four two four two four two].
[Three seven one four, four nine six three five, three nine eight four three one], that's the Amex.
Card [５１０５１０５１０５１０５１００], please.
[Five one zero five — one zero five one — zero five one zero — five one zero zero].
The long number is [6011 1111 1111 1117], and the three digits on the back are on the back.
It's [forty-two forty-two, forty-two forty-two, forty-two forty-two, forty-two forty-two].
My Mastercard is [two two two three, double zero three one, double two double zero, three double two two].
The digits: [4-2-4-2-4-2-4-2-4-2-4-2-4-2-4-2].
[4242] then [4242] then [4242] then [4242], did you get that?
[Four triple zero, double zero one two, three four five six, seven eight nine nine].
""",
    "phone numbers": """
My cell is [+1 (415) 555-0132].
Reach me on [four one five, five five five, zero one three two].
It's [0161 496 0345], the office in Manchester.
[Oh one six one, four nine six, oh double three five].
Call [1-800-555-0199] toll free.
The number is [0044 7700 900 456].
[plus one, two one two, triple five, oh one four seven], anytime.
My number's [２０２-５５５-０１７８].
You can text [oh double seven double oh nine hundred four five six].
[202.555.0156 extension 12] is the front desk.
""",
    "e-mail addresses": """
It's [anna dot meier at example dot com].
Please mail [a.meier_99@example.co.uk].
[anna underscore meier underscore ninety nine at example dot org].
Sure: [A N N A at example dot net].
It's [anna hyphen meier @ example . com], all lower case.
[bob smith at gmail dot com], that's one word.
[info at the dot blue dot example dot com].
My address is [r2d2 at example dot io].
""",
    "IBANs": """
The IBAN is [GB33 BUKB 2020 1555 5555 55].
[gb33bukb20201555555555] is where the rent goes.
It's [G B three three, B U K B, two zero two zero, one triple five, triple five, triple five].
[NL91-ABNA-0417-1643-00], in Amsterdam.
[G for George, B for Bravo, 3 3, B U K B, 2 0 2 0, 1 5 5 5, 5 5 5 5, 5 5].
[C H nine three, zero zero seven six, two zero one one, six two three eight, five two nine five, seven].
""",
    "": """
Your order number is 114-3941689-8772232.
My tracking number is 1Z 999 AA1 01 2345 6784.
The book is ISBN 978-0-306-40615-7.
I'm on BA 2490 from gate 23 at 18:45, seat 14C.
It was founded in nineteen eighty-four and sold in twenty twelve.
The zip code is 90210-1234.
The total is 1,234,567.89 dollars over 36 months.
Population rose from 8,336,817 in 2020 to 8,804,190.
Please count: ten, nine, eight, seven, six, five, four, three, two, one.
We have two double rooms and one triple room from May 3 to May 7, 2026.
Meet me at the corner of 5th and 42nd at 9.
He said one or two or three things, four at most.
The temperature was 12.5, 13.1, 14.8, 15.2 and 16.0 degrees this week.
It says error 0x80070057 at line 2048.
The ticket is INC0012345 and the PNR is X7K9PL.
Between 1939 and 1945, 1950 and 1953, and 1955 and 1975.
""",
}
_GERMAN = {
    "card numbers": """
Also die Nummer: [4242.4242.4242.4242].
Visa, [4012 8888 8888 1881], bitte.
[Vier zwei vier zwei, vier zwei vier zwei, vier zwei vier zwei, vier zwei vier zwei].
[Zweiundvierzig zweiundvierzig, zweiundvierzig zweiundvierzig, zweiundvierzig zweiundvierzig, zweiundvierzig zweiundvierzig].
Meine Karte lautet [５１０５１０５１０５１０５１００].
[Drei sieben eins vier, vier neun sechs drei fünf, drei neun acht vier drei eins] ist die Amex.
[Fünf eins null fünf, eins null fünf eins, null fünf eins null, fünf eins doppel null].
Das sind [4-2-4-2-4-2-4-2-4-2-4-2-4-2-4-2].
[Vier, zwomal die Null, eins, zwei acht acht acht, acht acht acht acht, eins acht acht eins].
[Zwo zwo zwo drei, null null drei eins, zwo zwo null null, drei zwo zwo zwo].
""",  # noqa: E501 - one sentence, one line
    "phone numbers": """
Meine Nummer ist [+49 (0)30 23125-123].
[0049 171 39 20 045], das Handy.
[Null eins sieben eins, drei neun zwo, doppel null vier fünf].
[030/23125 678] in Berlin.
[Plus neunundvierzig, eins sieben eins, drei neun, zwanzig, null fünfundvierzig].
Wählen Sie [089 99998-345, Durchwahl 12].
[０４０ ６６９６９ １２３] in Hamburg.
[Null vierzig, sechs sechs neun sechs neun, eins zwei drei].
Vorwahl [0221], dann [4710 456].
Rückruf bitte an [0043 1 5331234].
""",
    "e-mail addresses": """
Das ist [anna punkt meier ät example punkt de].
[anna.meier-schmidt@example.de] bitte.
[anna Minus meier at example Punkt com], alles klein.
[A N N A ät example punkt d e].
Schreiben Sie an [anna underscore meier at gmx punkt net].
[anna punkt müller neunundneunzig at web punkt de].
[info at stadt bindestrich werke punkt example punkt de].
[kontakt(at)example.de] steht auf der Seite.
""",
    "IBANs": """
IBAN [DE91 1000 0000 0123 4567 89].
[de91100000000123456789].
[D E neun eins, eins null null null, null null null null, null eins zwei drei, vier fünf sechs sieben, acht neun].
[AT48 3200 0000 1234 5864] in Wien.
[CH93-0076-2011-6238-5295-7] in der Schweiz.
[D wie Dora, E wie Emil, 91, 1000, 0000, 0123, 4567, 89].
""",
    "": """
Die Bestellnummer lautet 302-4455667-8899001.
Sendungsnummer 00340434161094042557.
ISBN 978-3-16-148410-0, zweite Auflage.
Flug LH 1234 um 18:45 Uhr ab Gate B23, Platz 14C.
Gegründet neunzehnhundertvierundachtzig, verkauft zweitausendzwölf.
Postleitzahl 10117, Hausnummer 12, Stock 3.
Das kostet 1.234.567,89 Euro über 36 Monate.
Zwischen 1914 und 1918, 1939 und 1945.
Zehn, neun, acht, sieben, sechs, fünf, vier, drei, zwei, eins, los!
Zwei Doppelzimmer und ein Dreibettzimmer vom 3. bis zum 7. Mai 2026.
Ich habe um acht oder neun Uhr angerufen, zwei- oder dreimal.
Die Werte waren 12,5, 13,1, 14,8, 15,2 und 16,0 Grad.
Das Aktenzeichen ist 12 O 345/25.
Kundennummer 4711, Vertrag 0815.
Steuernummer und so weiter stehen auf Seite 123, 124 und 125.
Am 24.12.2025 um 14.30 Uhr, nicht am 31.12.2025.
""",
}
_SPANISH = {
    "card numbers": """
El número es [4242.4242.4242.4242].
Visa, [4012 8888 8888 1881], por favor.
[Cuatro dos cuatro dos, cuatro dos cuatro dos, cuatro dos cuatro dos, cuatro dos cuatro dos].
[Cuarenta y dos cuarenta y dos, cuarenta y dos cuarenta y dos, cuarenta y dos cuarenta y dos, cuarenta y dos cuarenta y dos].
Es la [５１０５１０５１０５１０５１００].
[Tres siete uno cuatro, cuatro nueve seis tres cinco, tres nueve ocho cuatro tres uno], Amex.
[Cinco uno cero cinco, uno cero cinco uno, cero cinco uno cero, cinco uno doble cero].
Apunte: [4-2-4-2-4-2-4-2-4-2-4-2-4-2-4-2].
[Cuatro triple cero, cero cero uno dos, tres cuatro cinco seis, siete ocho nueve nueve].
[4242], a ver, [4242], espere, [4242] y por último [4242].
""",  # noqa: E501 - one sentence, one line
    "phone numbers": """
Mi móvil es el [+34 612-345-678].
[0034 612 345 678], con prefijo.
[Seis doce, trescientos cuarenta y cinco, seiscientos setenta y ocho].
[612.345.678] por las tardes.
[Seis uno dos, tres cuatro cinco, seis siete ocho].
[６１２ ３４５ ６７８], gracias.
El fijo es [91 123 45 67].
[Más treinta y cuatro, nueve uno uno, veintitrés, cuarenta y cinco, sesenta y siete].
En México, [+52 55 1234 5678].
Marque [911 234 567, extensión 12].
""",
    "e-mail addresses": """
Es [ana punto garcia arroba example punto com].
[ana.garcia-lopez@example.es], todo en minúsculas.
[ana guion bajo garcia arroba gmail punto com].
[A N A arroba example punto es].
[ana guión garcía arroba example punto com].
[ana punto garcia noventa y nueve arroba hotmail punto com].
Escriba a [info arroba rio guion azul punto example punto es].
[ventas arroba example punto com punto mx].
""",
    "IBANs": """
La cuenta es [ES79 2100 0813 6101 2345 6789].
[es7921000813610123456789].
[E S siete nueve, dos uno cero cero, cero ocho uno tres, seis uno cero uno, dos tres cuatro cinco, seis siete ocho nueve].
[PT50 0002 0123 1234 5678 9015 4], en Lisboa.
[ES79-2100-0813-6101-2345-6789].
[ES setenta y nueve, veintiuno cero cero, cero ocho trece, sesenta y uno cero uno, veintitrés cuarenta y cinco, sesenta y siete ochenta y nueve].
""",  # noqa: E501 - one sentence, one line
    "": """
El número de pedido es 402-1234567-7654321.
El seguimiento es el PQ4F6K0123456789.
ISBN 978-84-376-0494-7, segunda edición.
Vuelo IB 3214 a las 18:45, puerta 23, asiento 14C.
Nació en mil novecientos ochenta y cuatro y se mudó en dos mil doce.
El código postal es 28013.
Son 1.234.567,89 euros en 36 meses.
Entre 1936 y 1939, y entre 1975 y 1982.
Diez, nueve, ocho, siete, seis, cinco, cuatro, tres, dos, uno, ¡ya!
Dos habitaciones dobles y una triple, del 3 al 7 de mayo de 2026.
Llamé a las ocho o a las nueve, dos o tres veces.
Fueron 12,5, 13,1, 14,8, 15,2 y 16,0 grados.
El expediente es el 345/2025.
Cliente 4711, contrato 0815.
Está en las páginas 123, 124 y 125.
El 24/12/2025 a las 14:30, no el 31/12/2025.
""",
}
_FRENCH = {
    "card numbers": """
Le numéro, c'est [4242.4242.4242.4242].
Visa, [4012 8888 8888 1881], s'il vous plaît.
[Quatre deux quatre deux, quatre deux quatre deux, quatre deux quatre deux, quatre deux quatre deux].
[Quarante-deux quarante-deux, quarante-deux quarante-deux, quarante-deux quarante-deux, quarante-deux quarante-deux].
C'est la [５１０５１０５１０５１０５１００].
[Trois sept un quatre, quatre neuf six trois cinq, trois neuf huit quatre trois un], Amex.
[Cinq un zéro cinq, un zéro cinq un, zéro cinq un zéro, cinq un double zéro].
Notez : [4-2-4-2-4-2-4-2-4-2-4-2-4-2-4-2].
[Quatre triple zéro, zéro zéro un deux, trois quatre cinq six, sept huit neuf neuf].
[4242], attendez, [4242], oui, [4242] et enfin [4242].
""",
    "phone numbers": """
Mon portable, c'est le [+33 (0)6 39 98 45 67].
[0033 6 39 98 45 67], depuis l'étranger.
[Zéro six, trente-neuf, quatre-vingt-dix-huit, quarante-cinq, soixante-sept].
[06-39-98-45-67] après dix-huit heures.
[zéro six trois neuf neuf huit quatre cinq six sept].
[０６ ３９ ９８ ４５ ６７], merci.
[01 99 00 45 67, poste 12].
[Plus trente-trois, six, trente-neuf, nonante-huit, quarante-cinq, septante-sept].
En Belgique, [+32 470 12 34 56].
[Zéro un, nonante-neuf, double zéro, quarante-cinq, soixante-sept].
""",
    "e-mail addresses": """
C'est [anne point martin arobase example point com].
[anne.martin-dupont@example.fr], en minuscules.
[anne tiret bas martin arobase gmail point com].
[A N N E arobase example point fr].
[anne tiret martin at example point com].
[anne point martin quatre-vingt-dix-neuf arobase orange point fr].
Écrivez à [info arobase eau tiret bleue point example point fr].
[anne underscore martin chez example point fr].
""",
    "IBANs": """
Le compte est [FR76 3000 6000 0112 3456 7890 189].
[fr7630006000011234567890189].
[F R sept six, trois zéro zéro zéro, six zéro zéro zéro, zéro un un deux, trois quatre cinq six, sept huit neuf zéro, un huit neuf].
[BE71 0961 2345 6769] à Bruxelles.
[LU28-0019-4006-4475-0000] au Luxembourg.
[FR soixante-seize, trente zéro zéro, soixante zéro zéro, zéro un douze, trente-quatre cinquante-six, soixante-dix-huit quatre-vingt-dix, un huit neuf].
""",  # noqa: E501 - one sentence, one line
    "": """
La commande est la 404-1234567-7654321.
Le suivi est le 6A12345678901.
ISBN 978-2-07-036822-8, deuxième édition.
Vol AF 1234 à 18:45, porte 23, siège 14C.
Né en mille neuf cent quatre-vingt-quatre, parti en deux mille douze.
Le code postal est 75002.
Cela fait 1 234 567,89 euros sur 36 mois.
Entre 1914 et 1918, et entre 1939 et 1945.
Dix, neuf, huit, sept, six, cinq, quatre, trois, deux, un, partez !
Deux chambres doubles et une triple, du 3 au 7 mai 2026.
J'ai appelé à huit ou neuf heures, deux ou trois fois.
C'était 12,5, 13,1, 14,8, 15,2 et 16,0 degrés.
Le dossier est le 345/2025.
Client 4711, contrat 0815.
C'est aux pages 123, 124 et 125.
Le 24/12/2025 à 14:30, pas le 31/12/2025.
""",
}
_ITALIAN = {
    "card numbers": """
Il numero è [4242 4242 4242 4242].
La mia carta è la [4012-8888-8888-1881].
[Quattro due quattro due, quattro due quattro due, quattro due quattro due, quattro due quattro due].
[Quarantadue quarantadue, quarantadue quarantadue, quarantadue quarantadue, quarantadue quarantadue].
È la [５１０５１０５１０５１０５１００].
[٤٢٤٢ ٤٢٤٢ ٤٢٤٢ ٤٢٤٢], come la leggo.
[3714 496353 98431], American Express.
[Cinque uno zero cinque, uno zero cinque uno, zero cinque uno zero, cinque uno doppio zero].
""",
    "phone numbers": """
Il mio numero è [+39 312 345 6789].
[0039 312 345 6789], dall'estero.
Mi chiami al [312 345 6789].
[Tre uno due, tre quattro cinque, sei sette otto nove].
[Più trentanove, tre uno due, tre quattro cinque, sei sette otto nove].
[+39 06 6982 1234] in ufficio.
""",
    "e-mail addresses": """
[anna.rossi@example.it], tutto minuscolo.
È [anna punto rossi chiocciola example punto it].
[anna trattino basso rossi chiocciola gmail punto com].
[A N N A chiocciola example punto it].
[info at example punto it].
""",
    "IBANs": """
L'IBAN è [IT60 X054 2811 1010 0000 0123 456].
[it60x0542811101000000123456].
[I T sei zero, X zero cinque quattro, due otto uno uno, uno zero uno zero, zero zero zero zero, zero uno due tre, quattro cinque sei].
[DE91 1000 0000 0123 4567 89], in Germania.
""",  # noqa: E501 - one sentence, one line
    "": """
Il numero d'ordine è 407-1234567-7654321.
ISBN 978-88-04-66823-7, seconda edizione.
Il volo AZ 1234 delle 18:45, uscita 23, posto 14C.
Sei gentile, grazie. Due o tre volte.
Il CAP è 00184, il prezzo 1.234.567,89 euro.
Dieci, nove, otto, sette, sei, cinque, quattro, tre, due, uno, via!
Due camere doppie e una tripla, dal 3 al 7 maggio 2026.
Erano 12,5, 13,1, 14,8, 15,2 e 16,0 gradi.
Cliente 4711, contratto 0815, pagine 123, 124 e 125.
Il 24/12/2025 alle 14:30, non il 31/12/2025.
Nato nel millenovecentottantaquattro a Roma.
Ci vediamo al punto di ritrovo alle nove.
""",
}


def attacks() -> list[Example]:
    """Returns all sentences."""
    return examples_of(zip(LANGUAGES, (_ENGLISH, _GERMAN, _SPANISH, _FRENCH, _ITALIAN), strict=True))
