"""The map of a scene that pages share: OpenLayers, and one script that puts a scene and boxes on it.

``openlayers.js`` is made of ``openlayers_entry.js``, which names the parts that are used:

    npm install ol@10.11.0 esbuild@0.28.2
    npx esbuild openlayers_entry.js --bundle --minify --format=iife --global-name=ol --legal-comments=none \
        --outfile=openlayers.js

Its licences are in ``openlayers.LICENSE.txt``.
"""

from pathlib import Path

SCENE_MAP = Path(__file__).parent
"""The folder of these files."""
