// npm run lint: the style that is called standard (no semicolons, single quotes, a space before
// parentheses), and the mistakes that ESLint itself finds. `npm run lint:fix` mends what it can.
//
// The package neostandard has these rules ready-made, but it depends on typescript-eslint, which
// does not work with TypeScript 7.
import js from '@eslint/js'
import stylistic from '@stylistic/eslint-plugin'
import { defineConfig, globalIgnores } from 'eslint/config'
import globals from 'globals'

const style = stylistic.configs.customize({
  semi: false,
  quotes: 'single',
  indent: 2,
  commaDangle: 'never',
  braceStyle: '1tbs',
  jsx: false
})

/** Layout where standard differs from the plugin's own style. */
const layout = {
  '@stylistic/arrow-parens': ['error', 'as-needed'],
  '@stylistic/generator-star-spacing': ['error', 'both'],
  '@stylistic/operator-linebreak': ['error', 'after', { overrides: { '?': 'before', ':': 'before' } }],
  '@stylistic/quote-props': ['error', 'as-needed'],
  '@stylistic/quotes': ['error', 'single', { avoidEscape: true, allowTemplateLiterals: 'always' }],
  '@stylistic/space-before-function-paren': ['error', 'always'],
  '@stylistic/yield-star-spacing': ['error', 'both'],
  // A long string is aligned with its beginning or indented, whichever is easier to read.
  '@stylistic/indent-binary-ops': 'off',
  // A long list is broken between groups of items, not after each item.
  '@stylistic/list-style': 'off',
  // Two short statements, as in a callback, may share a line.
  '@stylistic/max-statements-per-line': 'off',
  // Parentheses around a function make V8 compile it at once (index.js).
  '@stylistic/no-extra-parens': 'off'
}

/** What standard asks of code besides its layout and ESLint's own recommendations. */
const habits = {
  'array-callback-return': 'error',
  curly: ['error', 'multi-line'],
  'default-case-last': 'error',
  'dot-notation': 'error',
  eqeqeq: ['error', 'always', { null: 'ignore' }],
  'new-cap': ['error', { capIsNew: false }],
  'no-eval': 'error',
  'no-extend-native': 'error',
  'no-extra-bind': 'error',
  'no-implied-eval': 'error',
  'no-labels': 'error',
  'no-lone-blocks': 'error',
  'no-multi-str': 'error',
  'no-new': 'error',
  'no-new-func': 'error',
  'no-new-wrappers': 'error',
  'no-proto': 'error',
  'no-self-compare': 'error',
  'no-sequences': 'error',
  'no-throw-literal': 'error',
  'no-undef-init': 'error',
  'no-unneeded-ternary': 'error',
  // A loop over pull() that takes one job and ends is ordinary use.
  'no-unreachable-loop': ['error', { ignore: ['ForOfStatement'] }],
  'no-unused-expressions': ['error', { allowTernary: true }],
  // A name is unused on purpose if it begins with _, or if it keeps a property out of a rest object.
  'no-unused-vars': ['error', { ignoreRestSiblings: true, varsIgnorePattern: '^_', argsIgnorePattern: '^_' }],
  'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
  'no-useless-call': 'error',
  'no-useless-computed-key': 'error',
  'no-useless-constructor': 'error',
  'no-useless-rename': 'error',
  'no-useless-return': 'error',
  'no-var': 'error',
  'no-void': 'error',
  'object-shorthand': 'error',
  'one-var': ['error', { initialized: 'never' }],
  'prefer-const': ['error', { destructuring: 'all' }],
  'prefer-promise-reject-errors': 'error',
  'prefer-regex-literals': 'error',
  'symbol-description': 'error',
  yoda: 'error'
}

export default defineConfig([
  globalIgnores(['target/', '.cache/']),
  {
    files: ['**/*.{js,cjs,mjs}'],
    extends: [js.configs.recommended, style],
    languageOptions: { globals: globals.node },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { ...layout, ...habits }
  },
  { files: ['**/*.{js,cjs}'], languageOptions: { sourceType: 'commonjs' } },
  { files: ['rehearsal/programs/*jest*'], languageOptions: { globals: globals.jest } }
])
