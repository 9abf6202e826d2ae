"""The ten EuroSAT classes: names, published counts, plain words and colours."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LandClass:
    """One class: its folder's name, its name in words, its published number of tiles, and what it shows."""

    name: str
    title: str
    tiles: int
    shows: str


CLASSES = (
    LandClass("AnnualCrop", "Annual crop", 3000, "fields sown anew each year: cereals, maize, vegetables"),
    LandClass("Forest", "Forest", 3000, "closed tree cover"),
    LandClass("HerbaceousVegetation", "Herbaceous vegetation", 3000, "natural grass, heath and shrubs"),
    LandClass("Highway", "Highway", 2500, "a large road somewhere in the tile"),
    LandClass("Industrial", "Industrial", 2500, "factories, warehouses, malls: large roofs"),
    LandClass("Pasture", "Pasture", 2000, "grassland that is grazed or mown"),
    LandClass("PermanentCrop", "Permanent crop", 2500, "vineyards, orchards, olive groves"),
    LandClass("Residential", "Residential", 3000, "houses, streets and gardens"),
    LandClass("River", "River", 2500, "a river or canal somewhere in the tile"),
    LandClass("SeaLake", "Sea or lake", 3000, "open water"),
)


CLASS_NAMES = tuple(each.name for each in CLASSES)


EUROSAT_TILES = sum(each.tiles for each in CLASSES)  # 27,000


# Ten colours that stay apart for colour-blind readers on light and dark ground, after Paul Tol's "muted"
# scheme (personal.sron.nl/~pault, 2021) with its pale grey replaced; a colour hints at its class.
CLASS_COLOURS = (
    "#DDCC77",  # AnnualCrop: sand
    "#117733",  # Forest: green
    "#999933",  # HerbaceousVegetation: olive
    "#888888",  # Highway: grey
    "#882255",  # Industrial: wine
    "#44AA99",  # Pasture: teal
    "#AA4499",  # PermanentCrop: purple
    "#CC6677",  # Residential: rose
    "#88CCEE",  # River: cyan
    "#4455BB",  # SeaLake: indigo, lightened for dark ground
)


def colours_for(class_names: tuple[str, ...]) -> dict[str, str]:
    """A colour for each class: EuroSAT's own where the name is EuroSAT's, else the ten in turn."""
    own = dict(zip(CLASS_NAMES, CLASS_COLOURS, strict=True))
    return {
        name: own.get(name, CLASS_COLOURS[position % len(CLASS_COLOURS)]) for position, name in enumerate(class_names)
    }
