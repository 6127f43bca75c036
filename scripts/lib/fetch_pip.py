"""Downloads pip itself as one file, which Python can run as it is: `python3 pip.whl/pip install …`.

For a Python without pip (Debian's python3). Usage: fetch_pip.py FILE
"""

import hashlib
import os
import re
import sys
import urllib.parse
import urllib.request

WHEEL = "pip-24.0-py3-none-any.whl"  # the last one that also runs on Python 3.7
SHA256 = "ba0d021a166865d2265246961bec0152ff124de910c5cc39f1156ce3fa7c69dc"


def main(path):
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    with urllib.request.urlopen(index, timeout=60) as answer:
        page = answer.read().decode()
    link = re.search(r'href="([^"]*/%s[^"]*)"' % re.escape(WHEEL), page)
    if link is None:
        sys.exit("%s does not offer %s" % (index, WHEEL))
    with urllib.request.urlopen(urllib.parse.urljoin(index, link.group(1)), timeout=60) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit("%s is not what it should be" % WHEEL)
    with open(path + ".part", "wb") as file:
        file.write(content)
    os.replace(path + ".part", path)


main(sys.argv[1])
