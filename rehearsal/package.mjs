// npm run test:package: the package as its users meet it (project.mjs), from every runtime, TypeScript project, bundler and test runner.
import assert from 'node:assert/strict'
import { copyFileSync, cpSync, lstatSync, mkdirSync, readFileSync, readdirSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { runtimes, tool } from './install.mjs'
import { platform, root } from './pack.mjs'
import { install, output, packed, place, project, remove, run, write } from './project.mjs'

after(remove)

const node = process.execPath
/** For tools that start Node by its name. */
const withNode = { env: { PATH: dirname(node) } }

const body = `
  reply(([text]) => \`\${text}!\`)
  for (let i = 1; i <= 3; i++) await push(\`job \${i}\`)
  const told = []
  for await (const [frame] of pull()) if (told.push(String(frame)) === 3) break
  console.log(told.join(), String(await request('really')))
  await close()
`
const typedBody = body.replace('told = []', 'told: string[] = []').replace('([text])', '([text]: Message): string')
const typedImport = "import { push, pull, request, reply, close, type Message } from 'zeropipe'"
const SAID = 'job 1,job 2,job 3 really!\n'

const programs = {
  'an ES module': write('program.mjs', `import { push, pull, request, reply, close } from 'zeropipe'\n${body}`),
  'a CommonJS module': write('program.cjs', `const { push, pull, request, reply, close } = require('zeropipe')\n;(async () => {${body}})()`),
  TypeScript: write('program.mts', `${typedImport}\n${typedBody}`)
}

test('the packages hold what they should, and nothing else', () => {
  const names = ({ files }) => files.map(({ path }) => path).toSorted()
  const lib = readdirSync(join(root, 'lib')).map(name => `lib/${name}`)
  assert.deepEqual(names(packed.root), ['LICENSE', 'README.md', 'index.d.ts', 'index.js', 'package.json', ...lib].toSorted())
  assert.deepEqual(names(packed.native), ['README.md', 'package.json', `zeropipe.${platform}.node`].toSorted())
})

test('neither runs anything when it is installed', () => {
  for (const name of ['zeropipe', `zeropipe-${platform}`]) {
    const { scripts = {} } = JSON.parse(readFileSync(join(project, 'node_modules', name, 'package.json'), 'utf8'))
    for (const script of ['preinstall', 'install', 'postinstall']) assert.equal(scripts[script], undefined)
  }
})

test('one platform takes less than 2 MB on disk', () => {
  const size = path => lstatSync(path).isDirectory() ? readdirSync(path).reduce((sum, name) => sum + size(join(path, name)), 0) : lstatSync(path).size
  const bytes = ['zeropipe', `zeropipe-${platform}`].reduce((sum, name) => sum + size(join(project, 'node_modules', name)), 0)
  assert.ok(bytes < 2_000_000, `${bytes} bytes`)
})

for (const [name, { program, run: args }] of Object.entries(runtimes)) {
  for (const [kind, file] of Object.entries(programs)) {
    // It knows no types; what TypeScript makes for it is run below.
    if (name === 'node-20' && kind === 'TypeScript') continue
    test(`${name} runs ${kind} with it`, async () => {
      assert.equal(await output(program(), [...args, file]), SAID)
    })
  }
}

const compilers = {
  'TypeScript 5': () => tool('typescript/bin/tsc'),
  'TypeScript 7': () => join(root, 'node_modules/typescript/bin/tsc')
}
for (const [name, compiler] of Object.entries(compilers)) {
  for (const type of ['module', 'commonjs']) {
    for (const moduleResolution of ['node16', 'nodenext', 'bundler']) {
      test(`${name} with moduleResolution ${moduleResolution} takes a strict project of type ${type}`, async () => {
        const isBundled = moduleResolution === 'bundler'
        const folder = `${name} ${type} ${moduleResolution}`
        const cwd = join(project, folder)
        write(`${folder}/program.ts`, `${typedImport}\n${type === 'module' ? typedBody : `void (async () => {${typedBody}})()`}`)
        write(`${folder}/package.json`, JSON.stringify({ private: true, type }))
        write(`${folder}/tsconfig.json`, JSON.stringify({
          compilerOptions: { strict: true, target: 'es2022', module: isBundled ? 'esnext' : moduleResolution, moduleResolution, skipLibCheck: false, outDir: 'out', rootDir: '.' },
          files: ['program.ts']
        }))
        await output(node, [compiler(), '--project', '.'], { cwd })
        if (isBundled) await bundle(['out/program.js', '--outfile=out/program.js', '--allow-overwrite', `--format=${type === 'module' ? 'esm' : 'cjs'}`], cwd)
        assert.equal(await output(runtimes['node-20'].program(), ['out/program.js'], { cwd }), SAID)
      })
    }
  }
}

/** Runs esbuild. */
function bundle (args, cwd = project) {
  return output(tool('esbuild/bin/esbuild'), ['--bundle', '--platform=node', '--external:zeropipe', '--log-level=warning', ...args], { cwd, ...withNode })
}

test('a bundle ships as the README says', async () => {
  const [, command, shipping] = /npx esbuild (.*)\nnpm (install .*)\n/.exec(readFileSync(join(root, 'README.md'), 'utf8'))
  write('app.mjs', readFileSync(programs['an ES module'], 'utf8'))
  await output(tool('esbuild/bin/esbuild'), [...command.split(' '), '--log-level=warning'], withNode)
  // The same, from the tarballs.
  install(...shipping.replace(/zeropipe$/, `${packed.root.path} ${packed.native.path}`).split(' '))
  const shipped = join(place, 'shipped')
  cpSync(join(project, 'dist'), shipped, { recursive: true })
  assert.equal(await output(node, ['app.mjs'], { cwd: shipped }), SAID)
})

test('a bundle as CommonJS works too', async () => {
  await bundle([programs['a CommonJS module'], '--format=cjs', '--outfile=bundle.cjs'])
  assert.equal(await output(node, ['bundle.cjs']), SAID)
})

/** The first code in the README's row of a way to ship. */
const documented = way => new RegExp(`^\\| ${way} \\| .*?\`(.*?)\``, 'm').exec(readFileSync(join(root, 'README.md'), 'utf8'))[1]

test('webpack takes what the README says', async () => {
  write('webpack.cjs', `
    const [webpack, entry, path] = process.argv.slice(2)
    require(webpack)({ target: 'node', mode: 'production', entry, output: { path, filename: 'app.cjs' }, ${documented('webpack')} }, (error, stats) => {
      if (error !== null || stats.hasErrors() || stats.hasWarnings()) throw error ?? new Error(stats.toString())
    })
  `)
  await output(node, ['webpack.cjs', tool('webpack/lib/index.js'), programs['a CommonJS module'], join(project, 'webpack')])
  assert.equal(await output(node, ['webpack/app.cjs']), SAID)
})

test('so does Vite', async () => {
  write('vite/app.mjs', readFileSync(programs['an ES module'], 'utf8'))
  write('vite/package.json', '{ "private": true, "type": "module" }')
  const [, ...args] = documented('Vite, Rollup').split(' ')
  const cwd = join(project, 'vite')
  await output(node, [tool('vite/bin/vite.js'), ...args, '--logLevel', 'warn'], { cwd, ...withNode })
  assert.equal(await output(node, ['dist/app.js'], { cwd }), SAID)
})

/** A folder where nothing of ours is. */
function lonely (name) {
  const folder = join(place, 'lonely', name)
  mkdirSync(folder, { recursive: true })
  return folder
}

test('an executable of Bun has all of it in one file', async () => {
  const folder = lonely('bun')
  await run(runtimes.bun.program(), ['build', '--compile', programs['an ES module'], '--outfile', join(folder, 'app')])
  assert.equal(await output(join(folder, 'app'), [], { cwd: folder }), SAID)
})

/** Makes a single executable of Node. */
async function makeExecutable (main, executable) {
  const program = runtimes['node-24'].program()
  write('sea.json', JSON.stringify({ main, output: 'sea.blob', disableExperimentalSEAWarning: true }))
  copyFileSync(program, executable)
  await run(program, ['--experimental-sea-config', 'sea.json'])
  await run(program, [tool('postject/dist/cli.js'), executable, 'NODE_SEA_BLOB', 'sea.blob', '--sentinel-fuse', 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'])
}

test('a single executable of Node finds it beside itself', async () => {
  const text = readFileSync(programs['a CommonJS module'], 'utf8').replace("require('zeropipe')", documented('a single executable of Node'))
  write('single.cjs', `const { createRequire } = require('node:module')\n${text}`)
  await makeExecutable('single.cjs', join(project, 'single'))
  assert.equal(await output(join(project, 'single'), []), SAID)
})

test('a program that was bundled with it, and one in a single executable, are told what helps', async () => {
  const folder = lonely('bundled')
  await output(tool('esbuild/bin/esbuild'), [programs['a CommonJS module'], '--bundle', '--platform=node', '--external:zeropipe-*', '--log-level=warning', '--outfile=bundled.cjs'], withNode)
  copyFileSync(join(project, 'bundled.cjs'), join(folder, 'app.cjs'))
  await assert.rejects(output(node, ['app.cjs'], { cwd: folder }), /it was bundled.*external/)
  await makeExecutable('bundled.cjs', join(folder, 'app'))
  await assert.rejects(output(join(folder, 'app'), [], { cwd: folder }), /single executable.*createRequire\(process\.execPath\)/)
})

test('Deno without the right to load it says which', async () => {
  const [, ...args] = runtimes.deno.run
  const given = args.filter(arg => arg !== '--allow-ffi')
  await assert.rejects(output(runtimes.deno.program(), ['run', '--no-prompt', ...given, programs['an ES module']]), /run it with --allow-ffi/)
})

test('publint finds nothing', async () => {
  for (const { path } of [packed.root, packed.native]) assert.match(await output(node, [tool('publint/src/cli.js'), 'run', path, '--strict']), /All good!/)
})

test('arethetypeswrong finds nothing', async () => {
  assert.match(await output(node, [tool('@arethetypeswrong/cli/dist/index.js'), packed.root.path, '--no-emoji', '--no-color']), /No problems found/)
})

test('jest loads it again and again, in contexts of their own', async () => {
  write('jest/package.json', '{ "private": true }')
  for (const name of ['one', 'two']) copyFileSync(new URL('programs/jest.js', import.meta.url), join(project, `jest/${name}.test.js`))
  for (const how of [['--runInBand'], ['--maxWorkers=2']]) {
    const { stderr } = await run(node, [tool('jest/bin/jest.js'), '--ci', ...how], { cwd: join(project, 'jest'), ...withNode })
    assert.match(stderr, /Tests: +10 passed, 10 total/)
    assert.doesNotMatch(stderr, /did not exit|force exited|open handle/)
  }
})

const still = createRequire(import.meta.url)('./programs/clocks.cjs').EXPECTED
const programOf = (name, as = name) => copyFileSync(new URL(`programs/${name}`, import.meta.url), join(project, 'clocks', as))

for (const environment of ['node', 'jsdom']) {
  test(`clocks of jest that stand still do not reach it, in the environment ${environment}`, async () => {
    write('clocks/package.json', '{ "private": true }')
    for (const name of ['clocks.cjs', 'clocks.jest.js']) programOf(name)
    const args = ['--ci', '--testRegex', 'clocks.jest.js', '--env', tool(`jest-environment-${environment}/build/index.js`)]
    const { stderr } = await run(node, [tool('jest/bin/jest.js'), ...args], { cwd: join(project, 'clocks'), ...withNode })
    assert.match(stderr, /Tests: +6 passed, 6 total/)
    assert.doesNotMatch(stderr, /did not exit|force exited|open handle/)
  })
}

test('nor do those of vitest', async () => {
  write('clocks/package.json', '{ "private": true }')
  programOf('clocks.cjs')
  programOf('clocks.vitest.mjs', 'clocks.test.mjs') // the name that it looks for, and so does our own runner
  mkdirSync(join(project, 'clocks/node_modules'))
  symlinkSync(tool('vitest'), join(project, 'clocks/node_modules/vitest'), 'junction')
  for (const pool of ['forks', 'threads', 'vmThreads']) {
    const env = { ...withNode.env, ...pool !== 'forks' && { VITEST_NEXT_TICK: '1' } }
    const stdout = await output(node, [tool('vitest/vitest.mjs'), 'run', '--pool', pool, 'clocks.test.mjs'], { cwd: join(project, 'clocks'), env })
    assert.match(stripVTControlCharacters(stdout), /Tests +2 passed \(2\)/)
  }
})

test('nor do those of sinon, if it is imported before', async () => {
  for (const name of ['clocks.cjs', 'clocks.sinon.cjs']) programOf(name)
  assert.equal(await output(node, ['clocks.sinon.cjs', tool('sinon')], { cwd: join(project, 'clocks') }), still)
})
