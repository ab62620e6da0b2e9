"""What the wikis of some twenty languages call the things that a reader does not want to read."""

from __future__ import annotations

import re
from collections.abc import Collection


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().casefold() for name in text.split(",") if name.strip())


def any_of(names: Collection[str]) -> str:
    """Return a regular expression that matches one of `names`, the longest that fits."""
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))


REDIRECTS = _names("""
    redirect, suuna, ümbersuunamine, weiterleitung, redirection, redirección, redireccion, rinvia,
    redirecionamento, doorverwijzing, patrz, przekieruj, tam, ohjaus, uudelleenohjaus,
    omdirigering, pāradresācija, přesměruj, átirányítás, yönlendirme, перенаправление,
    перенаправлення, пренасочване, αναδρομολόγηση, 重定向, 重新導向, 転送, リダイレクト, 넘겨주기,
    تحويل, تغییر_مسیر, הפניה
""")

DISAMBIGUATION_TEMPLATES = _names("""
    disambig, disambiguation, dab, disamb, hndis, geodis, hospitaldis, schooldis, numberdis,
    human name disambiguation, place name disambiguation, letter-number combination disambiguation,
    täpsustus, täpsustuslehekülg, begriffsklärung, homonymie, desambiguación, desambiguação,
    disambigua, dp, rozcestník, ujednoznacznienie, täsmennyssivu, förgrening, flertydig,
    nozīmju atdalīšana, неоднозначность, багатозначність, egyért, anlam ayrımı, 消歧义, 消歧義,
    aimai, 曖昧さ回避, 동음이의
""")

DISAMBIGUATION_TITLES = _names("""
    disambiguation, täpsustus, begriffsklärung, homonymie, desambiguación, desambiguação,
    disambigua, doorverwijspagina, nozīmju atdalīšana, значения, значення
""")

# A dump names its own namespaces; these are for text that comes without its dump
HIDDEN_NAMESPACES = _names("""
    file, image, media, pilt, fail, meedia, datei, bild, fichier, archivo, imagen, immagine,
    bestand, afbeelding, plik, ficheiro, arquivo, imagem, fil, tiedosto, kuva, attēls, vaizdas,
    файл, изображение, зображення, soubor, kép, dosya, tập tin, ファイル, 画像, 文件, 파일,
    ملف, קובץ, चित्र,
    category, kategooria, kategorie, catégorie, categoría, categoria, categorie, kategoria,
    kategori, luokka, kategorija, kategória, категория, категорія, κατηγορία, カテゴリ, 分类, 分類,
    분류, تصنيف, קטגוריה, श्रेणी, thể loại
""")

# Other projects that a link may lead to: its words are read, unlike those of links to languages
PROJECTS = _names("""
    w, wikt, wiktionary, s, wikisource, b, wikibooks, q, wikiquote, n, wikinews, v, wikiversity, m,
    meta, c, commons, species, d, wikidata, voy, wikivoyage, mw, doi
""")

APPENDICES = _names("""
    references, external links, external link, see also, notes, further reading, bibliography,
    footnotes, citations, notes and references, references and notes, works cited,
    references and further reading, notes and citations, cited sources, general references,
    viited, välislingid, välislink, vaata ka, märkused, viited ja allikad, viited ja märkused,
    kasutatud kirjandus,
    einzelnachweise, weblinks, siehe auch, anmerkungen, belege,
    références, liens externes, voir aussi, notes et références, bibliographie,
    referencias, enlaces externos, véase también, bibliografía,
    referências, ligações externas, ver também, bibliografia,
    collegamenti esterni, voci correlate, altri progetti, externe links, zie ook, referenties,
    примечания, ссылки, см. также, przypisy, linki zewnętrzne, zobacz też,
    lähteet, aiheesta muualla, katso myös, referenser, externa länkar, se även,
    atsauces, ārējās saites, skatīt arī, nūruodis, nūruodis i olūti, verīs taipoš, teiklavītys
""")

# Words that name a list of books at the end of an article, and a subject deeper inside one
APPENDICES_AT_THE_TOP = _names("""
    sources, literature, allikad, kirjandus, literatur, quellen, note, notas, bronnen, literatuur,
    литература, источники, література, olūti
""")
