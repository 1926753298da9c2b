// npm run bench:chart -- FILE.json FILE.svg: draws how many times as fast as zeromq.js zeropipe was in each case of a run.
import { readFileSync, writeFileSync } from 'node:fs'

const [source, target] = process.argv.slice(2)
if (target === undefined) throw new Error('usage: npm run bench:chart -- FILE.json FILE.svg')
const { results, date, node, platform, arch, cores } = JSON.parse(readFileSync(source, 'utf8'))

const WIDTH = 760
const LABEL = 300
const BAR = 18
const GAP = 6
const HEAD = 28
const FOOT = 24

/** Where less is better, how many times less. */
const bars = results.filter(({ beside }) => beside === 'zeromq')
  .map(({ group, name, ratio, unit }) => ({ group, name, times: unit === '/s' ? ratio : 1 / ratio }))
const most = Math.max(...bars.map(({ times }) => times))
const x = times => LABEL + (WIDTH - LABEL - 60) * times / most
const escape = text => text.replace(/[&<>]/g, letter => `&#${letter.charCodeAt(0)};`)

const lines = []
let [y, group] = [8, undefined]
for (const bar of bars) {
  if (bar.group !== group) {
    y += group === undefined ? 0 : GAP
    lines.push(`<text class="head" x="8" y="${y + 16}">${escape(bar.group)}</text>`)
    y += HEAD
    group = bar.group
  }
  lines.push(`<text x="${LABEL - 8}" y="${y + 13}" text-anchor="end">${escape(bar.name)}</text>`)
  lines.push(`<rect class="${bar.times >= 1 ? 'better' : 'worse'}" x="${LABEL}" y="${y}" width="${(x(bar.times) - LABEL).toFixed(1)}" height="${BAR}" rx="2"/>`)
  lines.push(`<text class="times" x="${(x(bar.times) + 6).toFixed(1)}" y="${y + 13}">${bar.times.toFixed(bar.times < 10 ? 1 : 0)}x</text>`)
  y += BAR + GAP
}
const height = y + FOOT
lines.push(`<line x1="${x(1).toFixed(1)}" y1="8" x2="${x(1).toFixed(1)}" y2="${y}"/>`)
lines.push(`<text class="foot" x="8" y="${height - 8}">times as good as zeromq.js 6.8 in the same run (the line: as good); Node ${node}, ${platform} ${arch}, ${cores} cores, ${date.slice(0, 10)}</text>`)

writeFileSync(target, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="12">
<style>rect.better{fill:#2a7f62}rect.worse{fill:#b5523b}line{stroke:#888;stroke-dasharray:3 3}text{fill:#333}.head{font-weight:600}.times{font-weight:600}.foot{fill:#777;font-size:11px}@media(prefers-color-scheme:dark){text{fill:#ddd}.foot{fill:#999}}</style>
${lines.join('\n')}
</svg>
`)
