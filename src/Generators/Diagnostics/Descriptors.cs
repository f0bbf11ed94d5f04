using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Diagnostics;

/// <summary>
/// All problems of a spec. Each message states the problem and the remedy; docs/diagnostics.md lists them.
/// </summary>
internal static class Descriptors
{
    private const string Category = "Blkring.Abi";

    public static readonly DiagnosticDescriptor MalformedXml = new(
        "BLKABI001",
        "The spec cannot be read",
        "The spec cannot be read; correct it where reading stopped: {0}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor UnknownElement = new(
        "BLKABI002",
        "Unknown element",
        "<{0}> has no meaning {1}; use {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor UnknownAttribute = new(
        "BLKABI003",
        "Unknown attribute",
        "<{0}> has no attribute '{1}'; use {2}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor MissingAttribute = new(
        "BLKABI004",
        "Missing attribute",
        "<{0}> lacks the attribute '{1}'; add {1}=\"…\"",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadNumber = new(
        "BLKABI005",
        "Not a number in range",
        "'{0}' is not {1}; write it in decimal or with 0x",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor NotACName = new(
        "BLKABI006",
        "Not a C identifier",
        "'{0}' is not a C identifier; copy the name from the header",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor DuplicateName = new(
        "BLKABI007",
        "Name declared twice",
        "'{0}' is declared twice; remove or rename one of the two",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor NameCollision = new(
        "BLKABI008",
        "Two C# names collide",
        "'{0}' becomes '{1}' in C#, which is already {2}; no name is changed silently: leave one of the two "
            + "out of the spec",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor NotACSharpName = new(
        "BLKABI009",
        "No C# name",
        "'{0}' becomes '{1}' in C#, which is not an identifier; a C# name begins with a letter: leave this item "
            + "out or choose another protocol name",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor UnknownType = new(
        "BLKABI010",
        "Unknown type",
        "'{0}' is not a known type; use uint8_t … int64_t, or declare a <typedef>, <struct> or <union> of that name",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadCount = new(
        "BLKABI011",
        "Count out of range",
        "An array of {0} elements is refused; give a count from 1 to {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor UnknownCount = new(
        "BLKABI012",
        "Count names no constant",
        "The count '{0}' is neither a number nor an integer <constant> of this spec; declare the constant or "
            + "correct the name",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor UnknownAbi = new(
        "BLKABI013",
        "Unknown ABI",
        "'{0}' names no <abi> of this spec; use {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadAlignment = new(
        "BLKABI014",
        "Alignment of 64-bit integers",
        "align-64 is {0}; a 64-bit integer is aligned to 4 or to 8 bytes",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor TypeCycle = new(
        "BLKABI015",
        "A type contains itself",
        "'{0}' contains itself ({1}); break the cycle: a shared layout holds values, never pointers",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor TooLarge = new(
        "BLKABI016",
        "Type too large",
        "'{0}' would be larger than {1} bytes; correct its counts or offsets",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor OverlappingOffset = new(
        "BLKABI017",
        "Explicit offset overlaps",
        "'{0}' at offset {1} overlaps the members before it, which end at {2} in the ABI {3}; move it to {2} "
            + "or later, or leave the offset out",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor MisalignedOffset = new(
        "BLKABI018",
        "Explicit offset misaligned",
        "'{0}' at offset {1} is not aligned to {2} bytes as the ABI {3} needs; correct the offset or the type",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadUsed = new(
        "BLKABI019",
        "'used' cannot count this array",
        "used=\"{0}\" on '{1}': {2}; name an unsigned integer member of the same struct that is not an array",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor UnknownStruct = new(
        "BLKABI020",
        "No such struct",
        "'{0}' names no <struct> of this spec; declare it or correct the name",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadRingHeader = new(
        "BLKABI021",
        "Ring header lacks an index",
        "The ring header '{0}' lacks the index {1} as a plain uint32_t member in every ABI; a shared ring "
            + "needs req_prod, req_event, rsp_prod and rsp_event",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadRingGeometry = new(
        "BLKABI022",
        "Ring entries do not fit",
        "The ring '{0}': {1}",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadVariantTag = new(
        "BLKABI023",
        "Variant's tag",
        "when=\"{0}\": {1}; name an unsigned integer member that the request and every variant have at one "
            + "offset, the same for all variants of a ring",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadVariantValue = new(
        "BLKABI024",
        "Variant's value",
        "is=\"{0}\": {1}; use a number or an integer constant that fits the tag, once per ring",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor MessageConflict = new(
        "BLKABI025",
        "Forms of a message disagree",
        "'{0}' is {1} here and {2} in an earlier form; a name must have one meaning in all forms of a ring's "
            + "request: rename one in the spec's struct",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor NestedDiffers = new(
        "BLKABI026",
        "Nested type differs between ABIs",
        "'{0}' of the ring message '{1}' has the type '{2}', whose layout differs between ABIs, so the "
            + "decoded message cannot hold it; list its members in the message instead",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor EmptyType = new(
        "BLKABI027",
        "Type without members",
        "'{0}' has no members in the ABI {1}; C has no empty types: add a member or remove it",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor DuplicateProtocol = new(
        "BLKABI028",
        "Protocol declared twice",
        "The protocol '{0}' is already declared in {1}; give each protocol one spec file",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor NoAbi = new(
        "BLKABI029",
        "No ABI",
        "The protocol '{0}' names no ABI; add at least <abi name=\"native\" align-64=\"8\"/>",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadConstant = new(
        "BLKABI030",
        "Constant without one value",
        "The constant '{0}' has {1}; give either value=\"…\" or string=\"…\"",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor NestedTooDeep = new(
        "BLKABI031",
        "Types nested too deep",
        "'{0}' nests types more than {1} deep; flatten it",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadTail = new(
        "BLKABI032",
        "Flexible array out of place",
        "<tail>: {0}; put it last, in a struct that nothing follows",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor UnknownPath = new(
        "BLKABI033",
        "Path leads nowhere",
        "path=\"{0}\" begins with no <struct> or <union> of this spec; begin with the type that has a member "
            + "of this type",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadUnnamed = new(
        "BLKABI034",
        "Neither named nor unnamed",
        "unnamed=\"{0}\": a type that C cannot name has unnamed=\"true\" and no path; leave one of the two out",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor BadBits = new(
        "BLKABI035",
        "No bit field of C",
        "bits=\"{0}\": {1}; give a single integer of fixed size and at most its width",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );

    public static readonly DiagnosticDescriptor TypeNotInAbi = new(
        "BLKABI036",
        "Type missing in an ABI",
        "{0} needs the type '{1}', which the ABI {2} lacks; name the same ABIs for both in abi=\"…\"",
        Category,
        DiagnosticSeverity.Error,
        isEnabledByDefault: true
    );
}
