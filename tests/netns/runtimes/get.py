"""get.py WAY URL [FILE]: prints what is at URL; trusts what is in FILE alone, if one is named. WAY:
urllib, requests, httpx, httpx2 (which offers HTTP/2), or a libcurl to load (such as libcurl-nss.so.4)."""
import ctypes
import ssl
import sys

way, url, *roots = sys.argv[1:]


def by_libcurl(library):
    """The few calls that curl_easy_perform needs; libcurl itself writes to stdout."""
    curl = ctypes.CDLL(library)
    curl.curl_easy_init.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(curl.curl_easy_init())
    cainfo, url_option = 10065, 10002
    curl.curl_easy_setopt(handle, url_option, ctypes.c_char_p(url.encode()))
    if roots:
        curl.curl_easy_setopt(handle, cainfo, ctypes.c_char_p(roots[0].encode()))
    return curl.curl_easy_perform(handle)


def body():
    if way == "urllib":
        import urllib.request

        context = ssl.create_default_context(cafile=roots[0]) if roots else None
        return urllib.request.urlopen(url, context=context).read()
    if way == "requests":
        import requests

        return requests.get(url, verify=roots[0] if roots else True).content
    import httpx

    with httpx.Client(http2=way == "httpx2", verify=roots[0] if roots else True) as client:
        return client.get(url).content


if way.startswith("lib"):
    sys.exit(by_libcurl(way))
try:
    sys.stdout.buffer.write(body())
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
