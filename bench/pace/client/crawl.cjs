// Crawlee's HttpCrawler as it comes, told only never to give an item up.
// usage: crawl.cjs URL ITEMS
const { readFileSync } = require("node:fs");
const { Configuration, HttpCrawler, LogLevel, log } = require("@crawlee/http");

const [url, items] = process.argv.slice(2);
log.setLevel(LogLevel.OFF);
const crawler = new HttpCrawler({
  additionalMimeTypes: ["application/json"],
  maxRequestRetries: 1_000_000,
  maxSessionRotations: 1_000_000,
  async requestHandler() {},
}, new Configuration({ persistStorage: false }));
crawler.run(readFileSync(items, "utf8").split(/\s+/).filter(Boolean).map((item) => url + item));
