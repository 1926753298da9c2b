import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const read = name => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')
/** What stands in backticks. */
const codes = text => [...text.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code)

const documents = ['CONTRIBUTING.md', 'SECURITY.md', '.github/pull_request_template.md']

for (const document of documents) {
  test(`every file and folder that ${document} names exists`, () => {
    const text = read(document)
    const isPath = /^[\w./-]*(?:\/|\.(?:js|md|mjs|rs|toml|ts))$/
    const named = codes(text).filter(code => isPath.test(code))
    const linked = [...text.matchAll(/\]\(([^):]+)\)/g)].map(([, path]) => path)
    const exists = path => existsSync(new URL(`../${path}`, import.meta.url))
    assert.deepEqual([...named, ...linked].filter(path => !exists(path)), [])
  })

  test(`every command of npm that ${document} names exists`, () => {
    const { scripts } = JSON.parse(read('package.json'))
    const names = [...read(document).matchAll(/\bnpm (?:run )?([a-z:]+)/g)].map(([, name]) => name)
    assert.deepEqual(names.filter(name => !(name in scripts) && name !== 'install'), [])
  })
}
