/*
 * Exact path-dependent TreeSHAP for binary trees by Gauss-Legendre quadrature.
 *
 * The formula
 * -----------
 * The Shapley value of feature i is an integral over y in [0, 1], in which every other feature joins the coalition
 * with probability y (Wettenstein, Mitchell, Yu, "Quadrature-TreeSHAP", arXiv 2605.04497, 2026). On a path each
 * distinct feature j brings the factor
 *
 *     f_j(y) = o_j y + z_j (1 - y)
 *
 * z_j: product of cover(child) / cover(node) over the path's splits on j;
 * o_j: 1 if the row agrees with all of them, else 0. Feature i's share of a leaf is
 *
 *     value * (o_i - z_i) * integral of the product of f_j(y) over j != i.
 *
 * The integrand is a polynomial of degree d - 1 with d distinct features on the path, so ceil(d / 2) Gauss-Legendre
 * points give the integral exactly. At every point two numbers travel through the tree:
 *
 *     G(node)  downwards: product of the factors on the path to the node; G(root) = 1
 *     U(node)  upwards:   sum over the leaves below of value * (product of the factors on the way down to the leaf)
 *
 * Both children of a node share everything else. Call the child the row goes to hot, the other cold, and let c be
 * cover(cold) / cover(node), so that cover(hot) / cover(node) = 1 - c. If the feature has split above, let z be the
 * share of its factor up to here and f = y + z (1 - y); if not, z = f = 1. While the row agrees with those splits, a
 * child's factor takes the place of f, and what they have in common is
 *
 *     v       = z (1 - y) / f
 *     G(cold) = G c v               G(hot) = G - G(cold)
 *     drop    = c v (U(hot) - U(cold))
 *     U       = U(hot) - drop
 *     phi_i  += sum over the points of weight / (1 - y)^2 * G (v / z) drop
 *
 * Once the row has left the path by a split on the same feature, o stays 0 and the factor of either child is its cover
 * ratio: v = 1, and the node adds nothing, so v / z is replaced by 0. Both vectors ("factor") are constants: one pair
 * for all nodes whose feature is new on the path, one for all that the row has left, and one for each node between.
 *
 * A branch no training row took has c = 1 or c = 0 and needs nothing special: its leaves weigh 0 where the row does not
 * go there. (LightGBM divides 0 by 0 and answers NaN for such a row.)
 *
 * The layout
 * ----------
 * Trees are grouped by the number of points they need and cut into blocks whose slots stay in the first-level cache.
 * A slot holds G and later U of one node or leaf, one double per point. Inside a block the nodes of all trees are
 * numbered breadth first, so that neighbours do not wait for each other's result. A branch has at least one child
 * that splits again (slots 0 ...), a twig has two leaves (the slots after the branches); the last slots belong to the
 * leaves under branches. A node takes about 50 bytes. Nothing is allocated after construction.
 *
 * A row is first copied into columns, one per combination of feature, missing type and default direction that the
 * model uses, in which a missing value is -inf (always left) or NaN (always right). A node is then one comparison.
 * Nothing in the passes branches on the row.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_DEPTH 512           /* a path is walked upwards while the layout is built */
#define MAX_POINTS 64           /* 128 distinct features on one path */
#define MAX_INDEX UINT16_MAX    /* slots of a block, columns and features are numbered in 16 bits */
#define BLOCK_BYTES 20480       /* slots of one block; with its nodes they fit a 32 KB first-level cache */
#define ALIGNMENT 64

/* LightGBM's model format: decision_type bits, and the float literal it widens to compare with zero. */
#define CATEGORICAL_BIT 1
#define DEFAULT_LEFT_BIT 2
#define MISSING_SHIFT 2
#define MISSING_NONE 0
#define MISSING_ZERO 1
#define DECISION_KINDS 12       /* 3 missing types, 2 directions, and the categorical bit which is never set */
#define ZERO_THRESHOLD ((double)1e-35f)

enum { FRESH_FACTOR, DEAD_FACTOR, FIRST_REPEAT_FACTOR };

/* What a pass does at a node, by the side the row goes to. Offsets are in bytes. */
typedef struct {
    double cold_share;      /* cover(cold) / cover(node) */
    uint32_t hot, cold;     /* offsets of the children's slots */
} BranchSide;

typedef struct {
    double cold_drop;       /* cover(cold) / cover(node) * (value(hot) - value(cold)) */
    double hot_leaf;
} TwigSide;

typedef struct {
    BranchSide side[2];
} Branch;

typedef struct {
    TwigSide side[2];
} Twig;

/* A node whose feature has split above. */
typedef struct {
    uint32_t factor;        /* offset, while the row agrees with the splits above */
    uint16_t node;
    uint16_t above;         /* nearest node above that splits on the same feature */
    uint16_t above_side;    /* where the path goes on from there */
    uint16_t above_repeat;  /* 1 + its number among the repeats; 0: it is not one */
} Repeat;

/* Arrays run over the slots: branches, then twigs. About 50 bytes a node. */
typedef struct {
    double *threshold;
    uint16_t *column;
    uint32_t *factor_of;    /* offset; scratch where the feature has split above */
    uint32_t *sum_of;       /* offset of the feature's sum */
    Branch *branches;
    Twig *twigs;
    Repeat *repeats;
    double *leaves;         /* values of the leaves under branches */
    double *factors;        /* one v and one v / z a factor, each with one double per point */
    uint16_t *roots;        /* slots */
    uint32_t dead_factor;   /* offset */
    uint32_t n_branches, n_twigs, n_leaves, n_repeats, n_roots;
} Block;

typedef void (*BlockKernel)(const Block *, const double *, double *, double *, uint8_t *, uint8_t *, int);

typedef struct {
    BlockKernel kernel;
    int points;
    uint32_t first_block, n_blocks;
    double weight[MAX_POINTS];   /* quadrature weight / (1 - y)^2 */
} Group;

typedef struct {
    int32_t feature;
    double if_nan;
    double if_zero;
} Column;

/* ------------------------------------------------------------------------------------------- instruction sets */

typedef double Vec2 __attribute__((vector_size(16), may_alias));
typedef double Vec4 __attribute__((vector_size(32), may_alias));
typedef double Vec8 __attribute__((vector_size(64), may_alias));

#define KERNEL baseline_4
#define TARGET
#define VEC Vec2
#define VECS 2
#include "_treeshap_kernel.h"
#define KERNEL baseline_8
#define TARGET
#define VEC Vec2
#define VECS 4
#include "_treeshap_kernel.h"
#define KERNEL baseline_n
#define TARGET
#define VEC Vec2
#define VECS (points / 2)
#include "_treeshap_kernel.h"

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx2,fma")))
#define KERNEL avx2_4
#define TARGET AVX2
#define VEC Vec4
#define VECS 1
#include "_treeshap_kernel.h"
#define KERNEL avx2_8
#define TARGET AVX2
#define VEC Vec4
#define VECS 2
#include "_treeshap_kernel.h"
#define KERNEL avx2_n
#define TARGET AVX2
#define VEC Vec4
#define VECS (points / 4)
#include "_treeshap_kernel.h"
#define KERNEL avx512_4
#define TARGET AVX512
#define VEC Vec4
#define VECS 1
#include "_treeshap_kernel.h"
#define KERNEL avx512_8
#define TARGET AVX512
#define VEC Vec8
#define VECS 1
#include "_treeshap_kernel.h"
#define KERNEL avx512_n
#define TARGET AVX512
#define VEC Vec8
#define VECS (points / 8)
#include "_treeshap_kernel.h"
#endif

typedef struct {
    const char *name;
    BlockKernel four, eight, any;
} InstructionSet;

static const InstructionSet BASELINE = {"baseline", baseline_4, baseline_8, baseline_n};
#if defined(__x86_64__)
static const InstructionSet WITH_AVX2 = {"avx2", avx2_4, avx2_8, avx2_n};
static const InstructionSet WITH_AVX512 = {"avx512f", avx512_4, avx512_8, avx512_n};
#endif

/*
 * Those this processor can run, ended by NULL; the first is the default. 512-bit vectors come second because stores of
 * 64 bytes that are loaded again soon made the passes 1.3 times slower on Zen 4.
 */
static const InstructionSet *const *
available_instruction_sets(void)
{
    static const InstructionSet *sets[4];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2) {
        sets[n++] = &WITH_AVX2;
    }
    if (avx2 && __builtin_cpu_supports("avx512f")) {
        sets[n++] = &WITH_AVX512;
    }
#endif
    sets[n] = &BASELINE;
    return sets;
}

static const InstructionSet *
choose_instruction_set(const char *name)
{
    const InstructionSet *const *sets = available_instruction_sets();
    if (name == NULL) {
        return sets[0];
    }
    for (; *sets != NULL; sets++) {
        if (strcmp((*sets)->name, name) == 0) {
            return *sets;
        }
    }
    PyErr_Format(PyExc_ValueError, "this processor has no instruction set '%s'", name);
    return NULL;
}

/* -------------------------------------------------------------------------------------------------- memory */

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, size) ((void)(start), (void)(size))
#endif

/* Aligned, zeroed pieces that are given back together. */
typedef struct Piece {
    struct Piece *next;
} Piece;

static void *
take(Piece **pool, size_t count, size_t size)
{
    if (count > ((size_t)PY_SSIZE_T_MAX - 2 * ALIGNMENT) / size) {
        PyErr_NoMemory();
        return NULL;
    }
    Piece *piece = PyMem_Calloc(1, count * size + 2 * ALIGNMENT);
    if (piece == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    piece->next = *pool;
    *pool = piece;
    char *start = (char *)(((uintptr_t)piece + 2 * ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    char *end = start + count * size;
    ASAN_POISON_MEMORY_REGION(end, (size_t)((char *)piece + count * size + 2 * ALIGNMENT - end));
    return start;
}

static void
release(Piece **pool)
{
    while (*pool != NULL) {
        Piece *next = (*pool)->next;
        PyMem_Free(*pool);
        *pool = next;
    }
}

/* ------------------------------------------------------------------------------------------- explaining one row */

typedef struct {
    PyObject_HEAD
    int n_features, n_trees, n_leaves, most_points;
    double base;
    const InstructionSet *instruction_set;
    Piece *pool;
    Group *groups;
    Block *blocks;
    Column *columns;
    uint32_t n_groups, n_blocks, n_columns;
    double *row;        /* scratch: one value per column */
    double *slots;      /* scratch: slots x points of the largest block */
    double *sums;       /* scratch: features x points */
    uint8_t *right;     /* scratch: 1 where the row goes right, per node of the largest block */
    uint8_t *agrees;    /* scratch: 1 where the row agrees with all splits on the feature above; [0] = 1, repeats follow */
} Explainer;

static void
fill_row(const Explainer *self, const double *features)
{
    for (uint32_t c = 0; c < self->n_columns; c++) {
        const Column *column = &self->columns[c];
        const double x = features[column->feature];
        self->row[c] = isnan(x) ? column->if_nan : fabs(x) <= ZERO_THRESHOLD ? column->if_zero : x;
    }
}

static void
add_group(const Explainer *self, const Group *group, double *contributions)
{
    const size_t points = (size_t)group->points;
    memset(self->sums, 0, (size_t)self->n_features * points * sizeof(double));
    for (uint32_t b = 0; b < group->n_blocks; b++) {
        group->kernel(&self->blocks[group->first_block + b], self->row, self->slots, self->sums, self->right,
                      self->agrees, group->points);
    }
    for (int f = 0; f < self->n_features; f++) {
        double total = 0.0;
        for (size_t k = 0; k < points; k++) {
            total += group->weight[k] * self->sums[(size_t)f * points + k];
        }
        contributions[f] += total;
    }
}

/* Writes one contribution per feature and returns the margin: their sum and the base value. */
static double
explain_row(const Explainer *self, const double *features, double *contributions)
{
    double margin = self->base;
    fill_row(self, features);
    memset(contributions, 0, (size_t)self->n_features * sizeof(double));
    for (uint32_t g = 0; g < self->n_groups; g++) {
        add_group(self, &self->groups[g], contributions);
    }
    for (int f = 0; f < self->n_features; f++) {
        margin += contributions[f];
    }
    return margin;
}

#include "_treeshap_layout.h"

/* ----------------------------------------------------------------------------------------- the Python interface */

enum { NUM_LEAVES, SPLIT_FEATURE, DECISION_TYPE, LEFT_CHILD, RIGHT_CHILD, THRESHOLD, LEAF_VALUE, LEAF_COUNT,
       INTERNAL_COUNT, N_ARRAYS };

static const char *const ARRAY_NAMES[N_ARRAYS] = {"num_leaves", "split_feature", "decision_type", "left_child",
                                                  "right_child", "threshold", "leaf_value", "leaf_count",
                                                  "internal_count"};

/* Takes a C-contiguous buffer of int32 ('i') or float64 ('d'). */
static int
get_array(PyObject *object, Py_buffer *view, char format, int flags, const char *name)
{
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | flags) < 0) {
        view->obj = NULL;
        return -1;
    }
    const size_t size = format == 'i' ? sizeof(int32_t) : sizeof(double);
    if (view->format == NULL || view->format[0] != format || view->format[1] != '\0' ||
        (size_t)view->itemsize != size || (uintptr_t)view->buf % size) {
        PyBuffer_Release(view);
        PyErr_Format(PyExc_TypeError, "%s must be an array of %s", name, format == 'i' ? "int32" : "float64");
        return -1;
    }
    return 0;
}

static int
length_is(const Py_buffer *view, Py_ssize_t expected, const char *name)
{
    if (view->len / view->itemsize != expected) {
        PyErr_Format(PyExc_ValueError, "%s has %zd values, expected %zd", name, view->len / view->itemsize, expected);
        return -1;
    }
    return 0;
}

static int
count_trees(const Py_buffer *num_leaves, Trees *trees)
{
    trees->num_leaves = num_leaves->buf;
    trees->n_trees = num_leaves->len / num_leaves->itemsize;
    for (Py_ssize_t t = 0; t < trees->n_trees; t++) {
        if (trees->num_leaves[t] < 1) {
            PyErr_Format(PyExc_ValueError, "tree %zd: no leaves", t);
            return -1;
        }
        trees->n_leaves += trees->num_leaves[t];
    }
    trees->n_nodes = trees->n_leaves - trees->n_trees;
    if (trees->n_trees < 1 || trees->n_leaves > INT32_MAX / 2) {
        PyErr_SetString(PyExc_ValueError, "no trees, or more than this kernel allows");
        return -1;
    }
    return 0;
}

static int
read_trees(const Py_buffer *views, Trees *trees)
{
    if (count_trees(&views[NUM_LEAVES], trees) < 0) {
        return -1;
    }
    for (int i = SPLIT_FEATURE; i < N_ARRAYS; i++) {
        const int per_leaf = i == LEAF_VALUE || i == LEAF_COUNT;
        if (length_is(&views[i], per_leaf ? trees->n_leaves : trees->n_nodes, ARRAY_NAMES[i]) < 0) {
            return -1;
        }
    }
    trees->split_feature = views[SPLIT_FEATURE].buf;
    trees->decision_type = views[DECISION_TYPE].buf;
    trees->left_child = views[LEFT_CHILD].buf;
    trees->right_child = views[RIGHT_CHILD].buf;
    trees->threshold = views[THRESHOLD].buf;
    trees->leaf_value = views[LEAF_VALUE].buf;
    trees->leaf_count = views[LEAF_COUNT].buf;
    trees->internal_count = views[INTERNAL_COUNT].buf;
    return 0;
}

static int
build_from_views(Explainer *self, const Py_buffer *views)
{
    Plan plan = {.n_features = self->n_features};
    int failed = read_trees(views, &plan.trees) < 0;
    if (!failed) {
        self->n_trees = (int)plan.trees.n_trees;
        self->n_leaves = (int)plan.trees.n_leaves;
        failed = build(self, &plan) < 0;
    }
    release(&plan.pool);
    return failed ? -1 : 0;
}

static int
build_from_objects(Explainer *self, PyObject *const *objects)
{
    Py_buffer views[N_ARRAYS] = {0};
    int failed = 0;
    for (int i = 0; i < N_ARRAYS && !failed; i++) {
        failed = get_array(objects[i], &views[i], i < THRESHOLD ? 'i' : 'd', 0, ARRAY_NAMES[i]) < 0;
    }
    failed = failed || build_from_views(self, views) < 0;
    for (int i = 0; i < N_ARRAYS; i++) {
        PyBuffer_Release(&views[i]);
    }
    return failed ? -1 : 0;
}

static PyObject *
explainer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"n_features", "num_leaves", "split_feature", "decision_type", "left_child", "right_child",
                            "threshold", "leaf_value", "leaf_count", "internal_count", "instruction_set", NULL};
    PyObject *o[N_ARRAYS];
    const char *set_name = NULL;
    int n_features;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iOOOOOOOOO|z:Explainer", names, &n_features, &o[0], &o[1], &o[2],
                                     &o[3], &o[4], &o[5], &o[6], &o[7], &o[8], &set_name)) {
        return NULL;
    }
    if (n_features < 1 || n_features > MAX_INDEX / DECISION_KINDS) {
        PyErr_SetString(PyExc_ValueError, "n_features is out of range");
        return NULL;
    }
    const InstructionSet *set = choose_instruction_set(set_name);
    const allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Explainer *self = set == NULL ? NULL : (Explainer *)alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->n_features = n_features;
    self->instruction_set = set;
    if (build_from_objects(self, o) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void
explainer_dealloc(Explainer *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    release(&self->pool);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* Checks the two buffers against each other; returns how many rows they hold, or -1. */
static Py_ssize_t
count_rows(const Explainer *self, const Py_buffer *rows, const Py_buffer *out)
{
    const Py_ssize_t row_bytes = (Py_ssize_t)sizeof(double) * self->n_features;
    if (rows->len % row_bytes || rows->len != out->len) {
        PyErr_Format(PyExc_ValueError, "rows and contributions must both have %d values a row", self->n_features);
        return -1;
    }
    const char *in = rows->buf, *to = out->buf;
    if (in < to + out->len && to < in + rows->len) {
        PyErr_SetString(PyExc_ValueError, "contributions would overwrite the rows");
        return -1;
    }
    return rows->len / row_bytes;
}

/* Explains all rows of one buffer into another; returns the margin of the last. */
static int
explain_buffers(const Explainer *self, PyObject *const *args, Py_ssize_t n_args, Py_ssize_t rows_wanted, double *margin)
{
    Py_buffer rows, out;
    if (n_args != 2) {
        PyErr_Format(PyExc_TypeError, "expected 2 arguments, got %zd", n_args);
        return -1;
    }
    if (get_array(args[0], &rows, 'd', 0, "rows") < 0) {
        return -1;
    }
    if (get_array(args[1], &out, 'd', PyBUF_WRITABLE, "contributions") < 0) {
        PyBuffer_Release(&rows);
        return -1;
    }
    Py_ssize_t n = count_rows(self, &rows, &out);
    if (n >= 0 && rows_wanted >= 0 && n != rows_wanted) {
        PyErr_Format(PyExc_ValueError, "expected %zd row, got %zd", rows_wanted, n);
        n = -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        const Py_ssize_t start = i * self->n_features;
        *margin = explain_row(self, (const double *)rows.buf + start, (double *)out.buf + start);
    }
    PyBuffer_Release(&out);
    PyBuffer_Release(&rows);
    return n < 0 ? -1 : 0;
}

static PyObject *
explainer_explain_into(Explainer *self, PyObject *const *args, Py_ssize_t n_args)
{
    double margin = 0.0;
    return explain_buffers(self, args, n_args, 1, &margin) < 0 ? NULL : PyFloat_FromDouble(margin);
}

static PyObject *
explainer_explain_rows_into(Explainer *self, PyObject *const *args, Py_ssize_t n_args)
{
    double margin = 0.0;
    if (explain_buffers(self, args, n_args, -1, &margin) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
explainer_instruction_set(Explainer *self, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(self->instruction_set->name);
}

PyDoc_STRVAR(explain_into_doc,
             "explain_into(row, contributions, /)\n--\n\n"
             "Write the contributions of one row and return its margin.\n\n"
             "Both are C-contiguous float64 buffers of n_features values.");
PyDoc_STRVAR(explain_rows_into_doc,
             "explain_rows_into(rows, contributions, /)\n--\n\n"
             "Write the contributions of each row, shape (n, n_features).");
PyDoc_STRVAR(explainer_doc,
             "Exact path-dependent TreeSHAP over flat arrays of LightGBM trees.\n\n"
             "Holds its own scratch memory: one thread at a time, which the interpreter lock ensures.");
PyDoc_STRVAR(module_doc, "Compiled kernel of model.explain; model.explain_reference states the same formula in NumPy.");

static PyMethodDef explainer_methods[] = {
    {"explain_into", (PyCFunction)(void (*)(void))explainer_explain_into, METH_FASTCALL, explain_into_doc},
    {"explain_rows_into", (PyCFunction)(void (*)(void))explainer_explain_rows_into, METH_FASTCALL,
     explain_rows_into_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef explainer_members[] = {
    {"n_features", T_INT, offsetof(Explainer, n_features), READONLY, "columns of a row"},
    {"n_trees", T_INT, offsetof(Explainer, n_trees), READONLY, "trees, single leaves included"},
    {"n_leaves", T_INT, offsetof(Explainer, n_leaves), READONLY, "leaves of all trees"},
    {"points", T_INT, offsetof(Explainer, most_points), READONLY, "most quadrature points any tree needs"},
    {"base", T_DOUBLE, offsetof(Explainer, base), READONLY, "expected margin over the training rows"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef explainer_getset[] = {
    {"instruction_set", (getter)explainer_instruction_set, NULL, "'avx512f', 'avx2' or 'baseline'", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot explainer_slots[] = {
    {Py_tp_new, explainer_new},         {Py_tp_dealloc, explainer_dealloc}, {Py_tp_methods, explainer_methods},
    {Py_tp_members, explainer_members}, {Py_tp_getset, explainer_getset},   {Py_tp_doc, (void *)explainer_doc},
    {0, NULL},
};

static PyType_Spec explainer_spec = {
    .name = "model._treeshap.Explainer",
    .basicsize = sizeof(Explainer),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = explainer_slots,
};

static PyObject *
instruction_set_names(void)
{
    PyObject *names = PyList_New(0);
    for (const InstructionSet *const *sets = available_instruction_sets(); names != NULL && *sets != NULL; sets++) {
        PyObject *name = PyUnicode_FromString((*sets)->name);
        if (name == NULL || PyList_Append(names, name) < 0) {
            Py_CLEAR(names);
        }
        Py_XDECREF(name);
    }
    return names;
}

static int
add_new(PyObject *module, const char *name, PyObject *value)
{
    const int failed = value == NULL || PyModule_AddObjectRef(module, name, value) < 0;
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

static int
module_exec(PyObject *module)
{
    return add_new(module, "Explainer", PyType_FromSpec(&explainer_spec)) < 0 ||
                   add_new(module, "INSTRUCTION_SETS", instruction_set_names()) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "model._treeshap",
    .m_doc = module_doc,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__treeshap(void)
{
    return PyModuleDef_Init(&module_def);
}
