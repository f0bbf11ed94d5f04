using System.Globalization;
using static Blkring.AbiTools.Import.LibClang;

namespace Blkring.AbiTools.Import;

/// <summary>
/// The headers as the compiler for one target sees them: their own types, constants and rings, and the types to which
/// these refer.
/// </summary>
internal sealed partial class HeaderReader
{
    private readonly Target _target;
    private readonly HeaderSources _sources;
    private readonly Hints _hints;
    private readonly Dictionary<string, Macro> _typeMacros;
    private readonly IReadOnlyDictionary<string, (decimal Value, string? Text)> _values;
    private readonly HashSet<Place> _macroUses;
    private readonly Dictionary<string, HeaderTypedef> _typedefs = new(StringComparer.Ordinal);
    private readonly List<HeaderType> _types = [];
    private readonly HashSet<string> _typeNames = new(StringComparer.Ordinal);
    private readonly List<HeaderRing> _rings = [];
    private readonly List<HeaderConstant> _constants = [];
    private readonly Dictionary<string, decimal> _constantValues = new(StringComparer.Ordinal);
    private readonly List<HeaderOmission> _omissions = [];

    private HeaderReader(
        Target target,
        TranslationUnit unit,
        HeaderSources sources,
        Hints hints,
        IReadOnlyList<Macro> macros,
        IReadOnlyDictionary<string, (decimal Value, string? Text)> values
    )
    {
        _macroUses =
        [
            .. Children(unit.Root)
                .Where(c => c.kind == ClangKind.MacroExpansion)
                .Select(c => TranslationUnit.Expansion(clang_getCursorLocation(c))),
        ];
        _target = target;
        _sources = sources;
        _hints = hints;
        _values = values;
        _typeMacros = macros
            .Where(m => MacroReader.IsTypeName(m) && !values.ContainsKey(m.Name))
            .ToDictionary(m => m.Name);
    }

    /// <exception cref="HeaderImportException">A struct has a layout that a spec cannot express.</exception>
    public static HeaderModel Read(
        Target target,
        TranslationUnit unit,
        HeaderSources sources,
        IReadOnlySet<string> files,
        Hints hints,
        IReadOnlyList<Macro> macros,
        IReadOnlyDictionary<string, (decimal Value, string? Text)> values
    )
    {
        var reader = new HeaderReader(target, unit, sources, hints, macros, values);
        reader.ReadConstants(macros);
        foreach (
            CXCursor cursor in Children(unit.Root)
                .Where(c => files.Contains(TranslationUnit.Expansion(clang_getCursorLocation(c)).File))
        )
            reader.ReadDeclaration(cursor);
        return new HeaderModel(
            target,
            reader._constants,
            [.. reader._typedefs.Values],
            reader._types,
            reader._rings,
            reader._omissions,
            MacroReader.DefinesFunctions(unit, files)
        );
    }

    private void ReadConstants(IReadOnlyList<Macro> macros)
    {
        foreach (Macro macro in macros)
        {
            string header = HeaderNames.Of(macro.At.File);
            if (!_values.TryGetValue(macro.Name, out var value) || !_hints.TakesConstant(macro.Name, header))
                continue;
            bool isHex =
                macro.Body.Contains("0x", StringComparison.OrdinalIgnoreCase)
                || macro.Body.Contains("<<", StringComparison.Ordinal);
            int lastLine =
                macro.At.Line
                + _sources
                    .Between(macro.At, macro.At with { Offset = macro.At.Offset + macro.Body.Length })
                    .Count(c => c == '\n');
            string doc = _sources.Comments(macro.At.File).Of(macro.Name, macro.At.Line, lastLine);
            Add(
                new HeaderConstant(
                    macro.Name,
                    value.Value,
                    value.Text,
                    isHex && value.Value >= 0,
                    null,
                    header,
                    macro.At,
                    doc
                )
            );
        }
    }

    private void ReadDeclaration(CXCursor cursor)
    {
        if (clang_isCursorDefinition(cursor) == 0)
            return;
        // An unnamed struct is read where a typedef or a member names it.
        if (IsRecord(cursor) && clang_Cursor_isAnonymous(cursor) == 0)
        {
            string name = TagOf(cursor);
            if (IsMadeByMacro(cursor) && PointerOf(cursor) is { } pointer)
                LeaveOut(name, $"private to one side: {pointer} is a pointer");
            else if (_hints.TakesType(name))
                ReadRecord(cursor);
        }
        else if (cursor.kind == ClangKind.EnumDecl)
            ReadEnum(cursor);
        else if (cursor.kind == ClangKind.TypedefDecl)
            ReadTypedef(cursor);
    }

    /// <summary>
    /// The macros of ring.h also define the private variables of each side, and other macros define guest handles: both
    /// hold pointers into the memory of one side.
    /// </summary>
    private void LeaveOut(string name, string why)
    {
        if (_hints.TakesType(name))
            _omissions.Add(new HeaderOmission(name, why));
    }

    /// <summary>A name for an integer; other typedefs name structs, which have tags, or what is not shared.</summary>
    private void ReadTypedef(CXCursor cursor)
    {
        CXType type = clang_getCanonicalType(clang_getCursorType(cursor));
        if (IntegerName(type) is not { } integer || IsWord(type))
            return;
        string name = Text(clang_getCursorSpelling(cursor));
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(cursor));
        Declare(name, integer, HeaderNames.Of(at.File), _sources.Comments(at.File).Of(name, at.Line, at.Line));
    }

    private void ReadEnum(CXCursor cursor)
    {
        string name = clang_Cursor_isAnonymous(cursor) != 0 ? "" : Text(clang_getCursorSpelling(cursor));
        foreach (CXCursor item in Children(cursor).Where(c => c.kind == ClangKind.EnumConstantDecl))
        {
            string constant = Text(clang_getCursorSpelling(item));
            Place at = TranslationUnit.Expansion(clang_getCursorLocation(item));
            string header = HeaderNames.Of(at.File);
            if (_hints.TakesConstant(constant, header))
                Add(
                    new HeaderConstant(
                        constant,
                        clang_getEnumConstantDeclValue(item),
                        null,
                        false,
                        name,
                        header,
                        at,
                        _sources.Comments(at.File).Of(constant, at.Line, at.Line)
                    )
                );
        }
    }

    private void Add(HeaderConstant constant)
    {
        _constants.Add(constant);
        // A macro may have the name of an enumerator: then both are the same constant.
        if (constant.Text is null)
            _constantValues.TryAdd(constant.Name, constant.Value);
    }

    private string Declare(string name, string integer, string header, string doc)
    {
        _typedefs.TryAdd(name, new HeaderTypedef(name, integer, header, doc));
        return name;
    }

    private static string? IntegerName(CXType type)
    {
        if (type.kind == ClangKind.TypeEnum)
            return IntegerName(clang_getCanonicalType(clang_getEnumDeclIntegerType(clang_getTypeDeclaration(type))));
        string? sign = type.kind switch
        {
            ClangKind.TypeBool or (>= ClangKind.TypeUChar and <= ClangKind.TypeULongLong) => "u",
            >= ClangKind.TypeSChar and <= ClangKind.TypeLongLong => "",
            _ => null,
        };
        return type.kind is ClangKind.TypeCharS or ClangKind.TypeCharU ? "char"
            : sign is null ? null
            : sign + Sized(clang_Type_getSizeOf(type));
    }

    private static string UnsignedOf(long size) => "u" + Sized(size);

    /// <summary>The signed integer of stdint.h of a size in bytes.</summary>
    private static string Sized(long size) => string.Create(CultureInfo.InvariantCulture, $"int{size * 8}_t");

    /// <summary>
    /// The width of long depends on the machine. (int64_t is long long here, see SystemHeaders.)
    /// </summary>
    private static bool IsWord(CXType type) => type.kind is ClangKind.TypeLong or ClangKind.TypeULong;

    private static CXType ElementType(CXType type)
    {
        for (CXType element = clang_getElementType(type); element.kind != 0; element = clang_getElementType(type))
            type = element;
        return type;
    }

    /// <summary>Everything that a macro expands to has the place where the macro is used.</summary>
    private bool IsMadeByMacro(CXCursor cursor) =>
        _macroUses.Contains(TranslationUnit.Expansion(clang_getCursorLocation(cursor)));
}
