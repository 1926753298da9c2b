// npm run test:package: the package as its users meet it, from the tarballs that would be published: installed into an empty project, with scripts
// disabled and no toolchain in reach.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { runtimes, tool } from './install.mjs'
import { pack, platform } from './pack.mjs'

const own = fileURLToPath(new URL('..', import.meta.url))
const place = mkdtempSync(join(tmpdir(), 'zeropipe-package-'))
after(() => rmSync(place, { recursive: true, force: true }))
const packed = pack(place)

/** An empty project that has installed both. */
const project = join(place, 'project')
mkdirSync(project)
write('package.json', '{ "private": true }')
install('install', packed.root.path, packed.native.path)

/** Runs npm in the project; it and its Node are all that is there. */
function install (...args) {
  const npm = process.env.npm_execpath ?? execFileSync('sh', ['-c', 'readlink -f "$(command -v npm)"'], { encoding: 'utf8' }).trim()
  execFileSync(process.execPath, [npm, ...args, '--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier'], {
    cwd: project,
    env: { PATH: dirname(process.execPath), HOME: place },
    stdio: ['ignore', 'ignore', 'inherit']
  })
}

function write (name, text) {
  mkdirSync(dirname(join(project, name)), { recursive: true })
  writeFileSync(join(project, name), text)
  return join(project, name)
}

let last = 0
/** Runs a program in the project, or in another folder, with nothing on its PATH. What it says; it fails if it ends otherwise than well, or complains. */
async function run (program, args, { cwd = project, env = {} } = {}) {
  const endpoint = `ipc://@zeropipe-package-${process.pid}-${++last}`
  const { stdout, stderr } = await promisify(execFile)(program, args, {
    cwd,
    env: { PATH: place, HOME: place, ZEROPIPE_ENDPOINT: endpoint, ZEROPIPE_REQUEST_ENDPOINT: `${endpoint}-requests`, ...env }
  }).catch(error => { throw new Error(`${error.message}\n${error.stdout}`) })
  assert.equal(stderr, '')
  return stdout
}

const node = process.execPath
const body = `
  reply(([text]) => \`\${text}!\`)
  for (let i = 1; i <= 3; i++) await push(\`job \${i}\`)
  const told = []
  for await (const [frame] of pull()) if (told.push(String(frame)) === 3) break
  console.log(told.join(), String(await request('really')))
  await close()
`
const SAID = 'job 1,job 2,job 3 really!\n'
const programs = {
  'an ES module': write('program.mjs', `import { push, pull, request, reply, close } from 'zeropipe'\n${body}`),
  'a CommonJS module': write('program.cjs', `const { push, pull, request, reply, close } = require('zeropipe')\n;(async () => {${body}})()`),
  TypeScript: write('program.mts', typed(`import { push, pull, request, reply, close, type Message } from 'zeropipe'`))
}

function typed (imports) {
  return `${imports}\n${body.replace('told = []', 'told: string[] = []').replace('([text])', '([text]: Message): string')}`
}

test('the packages hold what they should, and nothing else', () => {
  const names = ({ files }) => files.map(({ path }) => path).toSorted()
  const lib = readdirSync(join(own, 'lib')).map(name => `lib/${name}`)
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
  const bytes = size(join(project, 'node_modules'))
  assert.ok(bytes < 2_000_000, `${bytes} bytes`)
})

for (const [name, { program, run: args }] of Object.entries(runtimes)) {
  for (const [kind, file] of Object.entries(programs)) {
    test(`${name} runs ${kind} with it`, async () => {
      // Node 20 knows no types.
      const isOld = name === 'node-20' && kind === 'TypeScript'
      assert.equal(await run(program(), [...args, isOld ? compile('program.mts') : file]), SAID)
    })
  }
}

/** What tsc makes of a file; types of Node are what every TypeScript project has. */
function compile (file) {
  execFileSync(node, [compilers['TypeScript 7'](), '--module', 'nodenext', '--target', 'es2022', '--strict', '--outDir', 'compiled', file], { cwd: typedProject(), stdio: 'inherit' })
  return join(project, 'compiled', 'program.mjs')
}

/** The project, with the types of Node. */
function typedProject () {
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
  for (const name of ['@types/node', 'undici-types']) cpSync(join(own, 'node_modules', name), join(project, 'node_modules', name), { recursive: true })
  return project
}

const compilers = {
  'TypeScript 5': () => tool('typescript/bin/tsc'),
  'TypeScript 7': () => join(own, 'node_modules/typescript/bin/tsc')
}
for (const [name, compiler] of Object.entries(compilers)) {
  for (const type of ['module', 'commonjs']) {
    for (const moduleResolution of ['node16', 'nodenext', 'bundler']) {
      test(`${name} with moduleResolution ${moduleResolution} takes a strict project of type ${type}`, async () => {
        const isBundled = moduleResolution === 'bundler'
        const folder = `${name.replace(' ', '-')}-${type}-${moduleResolution}`
        const imports = "import { push, pull, request, reply, close, type Message } from 'zeropipe'"
        write(`${folder}/program.ts`, type === 'module' ? typed(imports) : typed(imports).replace(body.slice(0, 3), `void (async () => {${body.slice(0, 3)}`) + '})()\n')
        write(`${folder}/package.json`, JSON.stringify({ private: true, type }))
        write(`${folder}/tsconfig.json`, JSON.stringify({
          compilerOptions: { strict: true, target: 'es2022', module: isBundled ? 'esnext' : moduleResolution, moduleResolution, skipLibCheck: false, outDir: 'out', rootDir: '.' },
          files: ['program.ts']
        }))
        typedProject()
        const cwd = join(project, folder)
        await run(node, [compiler(), '--project', '.'], { cwd })
        const output = join(cwd, 'out/program.js')
        if (isBundled && type === 'commonjs') await bundle([output, '--format=cjs', `--outfile=${output}`, '--allow-overwrite'])
        assert.equal(await run(node, [output], { cwd }), SAID)
      })
    }
  }
}

/** Runs esbuild. */
function bundle (args, cwd = project) {
  return run(tool('esbuild/bin/esbuild'), ['--bundle', '--platform=node', '--external:zeropipe', '--log-level=warning', ...args], { cwd, env: { PATH: dirname(node) } })
}

test('a bundle ships as the README says', async () => {
  const [, command, shipping] = /npx (esbuild .*)\n(npm install .*)\n/.exec(readFileSync(join(own, 'README.md'), 'utf8'))
  write('app.mjs', readFileSync(programs['an ES module'], 'utf8'))
  const [, ...args] = command.split(' ')
  await run(tool('esbuild/bin/esbuild'), [...args, '--log-level=warning'], { env: { PATH: dirname(node) } })
  // The same, from the tarballs.
  const [, ...words] = shipping.replace(/zeropipe$/, `${packed.root.path} ${packed.native.path}`).split(' ')
  install(...words)
  const shipped = join(place, 'shipped')
  cpSync(join(project, 'dist'), shipped, { recursive: true })
  assert.equal(await run(node, ['app.mjs'], { cwd: shipped }), SAID)
})

test('a bundle as CommonJS works too', async () => {
  await bundle([programs['a CommonJS module'], '--format=cjs', '--outfile=bundle.cjs'])
  assert.equal(await run(node, ['bundle.cjs']), SAID)
})

test('publint finds nothing', async () => {
  for (const { path } of [packed.root, packed.native]) assert.match(await run(node, [tool('publint/src/cli.js'), 'run', path, '--strict']), /All good!/)
})

test('arethetypeswrong finds nothing', async () => {
  assert.match(await run(node, [tool('@arethetypeswrong/cli/dist/index.js'), packed.root.path, '--no-emoji', '--no-color']), /No problems found/)
})

test('jest loads it again and again, in contexts of their own', async () => {
  write('jest/package.json', '{ "private": true }')
  for (const name of ['one', 'two']) {
    write(`jest/${name}.test.js`, `
      const { pipe, push, pull, close } = require('zeropipe')

      afterAll(() => close())

      test('jobs of ${name} arrive', async () => {
        await push(['text', 7, null, Buffer.from('bytes'), new Uint16Array([1])])
        const loop = pull()
        const { value } = await loop.next()
        expect(value.map(String)).toEqual(['text', '7', '', 'bytes', '\\u0001\\0'])
        await loop.return()
      })

      test('a module that is loaded again shares the default pipe, and has pipes of its own', async () => {
        jest.resetModules()
        const again = require('zeropipe')
        expect(again.push).not.toBe(push)
        await push('for whoever pulls')
        const loop = again.pull()
        expect(String((await loop.next()).value[0])).toBe('for whoever pulls')
        await loop.return()
        await jest.isolateModulesAsync(async () => {
          const alone = require('zeropipe').pipe({ push: { bind: 'inproc://${name}' }, pull: { connect: 'inproc://${name}' } })
          await alone.push('own')
          for await (const [text] of alone.pull()) {
            expect(String(text)).toBe('own')
            break
          }
          await alone.close()
        })
      })

      test('errors are errors', async () => {
        await expect(push({})).rejects.toMatchObject({ code: 'ERR_ZEROPIPE_INVALID_JOB' })
        await expect(pipe({ push: 'nowhere' }).push('x')).rejects.toMatchObject({ code: 'ERR_ZEROPIPE_INVALID_ENDPOINT' })
      })
    `)
  }
  for (const how of [['--runInBand'], ['--maxWorkers=2']]) {
    const { stderr } = await promisify(execFile)(node, [tool('jest/bin/jest.js'), '--ci', ...how], {
      cwd: join(project, 'jest'),
      env: { PATH: dirname(node), HOME: place, ZEROPIPE_ENDPOINT: `ipc://@zeropipe-jest-${process.pid}-${++last}` }
    })
    assert.match(stderr, /Tests: +6 passed, 6 total/)
    assert.doesNotMatch(stderr, /did not exit|force exited|open handle/)
  }
})
