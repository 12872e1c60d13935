"""The functions that statements may call: what is not here is refused.

Left out on purpose: what reads files, networks, dictionaries, models, other tables or the server's
state; what parses SQL or names a format; and what takes more than linear time on one value, since
the engine looks for a cancellation only between blocks of rows (edit distances, folds over arrays,
polygons, fuzzy matches). Aliases come from the engine. `tests/golden/engine` pins what the engine
has besides.
"""

from collections.abc import Mapping
from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.lower().split())


AGGREGATES: Final = _names("""
    analysisOfVariance any any_respect_nulls anyHeavy anyLast anyLast_respect_nulls approx_top_k
    approx_top_sum argAndMax argAndMin argMax argMin avg avgWeighted boundingRatio
    categoricalInformationValue contingency corr corrMatrix corrStable count covarPop
    covarPopMatrix covarPopStable covarSamp covarSampMatrix covarSampStable cramersV
    cramersVBiasCorrected cume_dist deltaSum deltaSumTimestamp denseRank distinctDynamicTypes
    distinctJSONPaths distinctJSONPathsAndTypes entropy exponentialMovingAverage
    exponentialTimeDecayedAvg exponentialTimeDecayedCount exponentialTimeDecayedMax
    exponentialTimeDecayedSum gini groupArray groupArrayInsertAt groupArrayIntersect
    groupArrayLast groupArrayMovingAvg groupArrayMovingSum groupArraySample groupArraySorted
    groupBitAnd groupBitmap groupBitmapAnd groupBitmapOr groupBitmapXor groupBitOr groupBitXor
    groupConcat groupUniqArray histogram intervalLengthSum kurtPop kurtSamp
    lag lagInFrame largestTriangleThreeBuckets lead leadInFrame mannWhitneyUTest max
    maxIntersections maxIntersectionsPosition maxMappedArrays meanZTest min minMappedArrays
    nonNegativeDerivative nth_value ntile percentRank quantile quantileBFloat16
    quantileBFloat16Weighted quantileDD quantileDeterministic quantileExact quantileExactExclusive
    quantileExactHigh quantileExactInclusive quantileExactLow quantileExactWeighted
    quantileExactWeightedInterpolated quantileGK quantileInterpolatedWeighted
    quantilePrometheusHistogram quantiles quantilesBFloat16 quantilesBFloat16Weighted quantilesDD
    quantilesDeterministic quantilesExact quantilesExactExclusive quantilesExactHigh
    quantilesExactInclusive quantilesExactLow quantilesExactWeighted
    quantilesExactWeightedInterpolated quantilesGK quantilesInterpolatedWeighted
    quantilesPrometheusHistogram quantilesTDigest quantilesTDigestWeighted quantilesTiming
    quantilesTimingWeighted quantileTDigest quantileTDigestWeighted quantileTiming
    quantileTimingWeighted rank rankCorr regr_avgx regr_avgy regr_count regr_intercept regr_r2
    regr_slope regr_sxx regr_sxy regr_syy retention row_number sequenceCount sequenceMatch
    sequenceMatchEvents sequenceNextNode simpleLinearRegression singleValueOrNull skewPop skewSamp
    sparkbar stddevPop stddevPopStable stddevSamp stddevSampStable studentTTest
    studentTTestOneSample sum sumCount sumKahan sumMapFiltered sumMapFilteredWithOverflow
    sumMappedArrays sumMapWithOverflow sumWithOverflow theilsU topK topKWeighted uniq uniqCombined
    uniqCombined64 uniqExact uniqHLL12 uniqUpTo varPop varPopStable varSamp varSampStable
    welchTTest windowFunnel
""")
"""Aggregate and window functions; each may carry combinators such as -If and -State."""

ARITHMETIC: Final = _names("""
    abs acos acosh asin asinh atan atan2 atanh avg2 bitAnd bitCount bitHammingDistance bitNot
    bitOr bitRotateLeft bitRotateRight bitShiftLeft bitShiftRight bitSlice bitTest bitTestAll
    bitTestAny bitXor byteSwap cbrt ceil cos cosh cosineDistance cosineDistanceTransposed
    cosineDistanceTransposedQuantized degrees divide divideDecimal divideOrNull
    dotProductTransposed dotProductTransposedQuantized e erf erfc exp exp10 exp2 factorial
    financialNetPresentValue financialNetPresentValueExtended floor gcd hypot ifNotFinite intDiv
    intDivOrNull intDivOrZero intExp10 intExp2 isFinite isInfinite isNaN L1Distance L1Norm
    L1Normalize L2Distance L2DistanceTransposed L2DistanceTransposedQuantized L2Norm L2Normalize
    L2SquaredDistance L2SquaredNorm lcm lgamma LinfDistance LinfNorm LinfNormalize log log10 log1p
    log2 LpDistance LpNorm LpNormalize max2 midpoint min2 minus modulo moduloLegacy moduloOrNull
    moduloOrZero multiply multiplyDecimal negate pi plus positiveModulo positiveModuloOrNull pow
    proportionsZTest radians round roundAge roundBankers roundDown roundDuration roundToExp2
    sigmoid sign sin sinh sqr sqrt tan tanh tgamma trunc widthBucket
""")
"""Numbers, vectors and money."""

LOGIC: Final = _names("""
    and assumeNotNull clamp coalesce equals firstNonDefault globalIn globalInIgnoreSet globalNotIn
    globalNotInIgnoreSet globalNotNullIn globalNotNullInIgnoreSet globalNullIn
    globalNullInIgnoreSet greater greaterOrEquals greatest if ifNull in inIgnoreSet isDistinctFrom
    isNotDistinctFrom isNotNull isNull isNullable isZeroOrNull least less lessOrEquals multiIf not
    notEquals notIn notInIgnoreSet notNullIn notNullInIgnoreSet nullIf nullIn nullInIgnoreSet or
    toNullable xor
""")
"""Comparing, choosing, NULL."""

ARRAYS: Final = _names("""
    array arrayAll arrayAUCPR arrayAvg arrayBottomK arrayCompact arrayConcat arrayCount
    arrayCumSum arrayCumSumNonNegative arrayDifference arrayDistinct arrayDotProduct arrayElement
    arrayElementOrNull arrayEnumerate arrayEnumerateDense arrayEnumerateDenseRanked
    arrayEnumerateUniq arrayEnumerateUniqRanked arrayExcept arrayExists arrayFill arrayFilter
    arrayFirst arrayFirstIndex arrayFirstOrNull arrayFlatten arrayFlattenedLength arrayIntersect
    arrayJaccardIndex arrayJoin arrayLast arrayLastIndex arrayLastOrNull arrayMap arrayMax
    arrayMin arrayNormalizedGini arrayPartialReverseSort arrayPartialShuffle arrayPartialSort
    arrayPopBack arrayPopFront arrayProduct arrayPushBack arrayPushFront arrayRandomSample
    arrayReduce arrayReduceInRanges arrayRemove arrayResize arrayReverse arrayReverseFill
    arrayReverseSort arrayReverseSplit arrayROCAUC arrayRotateLeft arrayRotateRight arrayShiftLeft
    arrayShiftRight arrayShuffle arraySlice arraySort arraySplit arraySum arraySymmetricDifference
    arrayTopK arrayUnion arrayUniq arrayWithConstant arrayZip arrayZipUnaligned bitmapAnd
    bitmapAndCardinality bitmapAndnot bitmapAndnotCardinality bitmapBuild bitmapCardinality
    bitmapContains bitmapHasAll bitmapHasAny bitmapMax bitmapMin bitmapOr bitmapOrCardinality
    bitmapSubsetInRange bitmapSubsetLimit bitmapToArray bitmapTransform bitmapXor
    bitmapXorCardinality countEqual dotProduct empty emptyArrayDate emptyArrayDateTime
    emptyArrayFloat32 emptyArrayFloat64 emptyArrayInt16 emptyArrayInt32 emptyArrayInt64
    emptyArrayInt8 emptyArrayString emptyArrayToSingle emptyArrayUInt16 emptyArrayUInt32
    emptyArrayUInt64 emptyArrayUInt8 extractKeyValuePairs extractKeyValuePairsWithEscaping
    flattenTuple has hasAll hasAny indexOf indexOfAssumeSorted length map mapAdd mapAll mapApply
    mapConcat mapContainsKey mapContainsKeyLike mapContainsValue mapContainsValueLike mapExists
    mapExtractKeyLike mapExtractValueLike mapFilter mapFromArrays mapKeys mapPartialReverseSort
    mapPartialSort mapPopulateSeries mapReverseSort mapSort mapSubtract mapUpdate mapValues
    notEmpty notHas range replicate reverse subBitmap tuple tupleConcat tupleDivide
    tupleDivideByNumber tupleElement tupleHammingDistance tupleIntDiv tupleIntDivByNumber
    tupleIntDivOrZero tupleIntDivOrZeroByNumber tupleMinus tupleModulo tupleModuloByNumber
    tupleMultiply tupleMultiplyByNumber tupleNames tupleNegate tuplePlus
    tuplePositiveModuloByNumber tupleToNameValuePairs
""")
"""Arrays, tuples, maps and bitmaps."""

TIMES: Final = _names("""
    addDate addDays addHours addInterval addMicroseconds addMilliseconds addMinutes addMonths
    addNanoseconds addQuarters addSeconds addTupleOfIntervals addWeeks addYears age changeDay
    changeHour changeMinute changeMonth changeSecond changeYear dateDiff dateName dateTrunc
    formatDateTime formatDateTimeInJodaSyntax fromDaysSinceYearZero fromDaysSinceYearZero32
    fromModifiedJulianDay fromModifiedJulianDayOrNull fromUnixTimestamp
    fromUnixTimestampInJodaSyntax fromUTCTimestamp localtime makeDate makeDate32 makeDateTime
    makeDateTime64 monthName now now64 nowInBlock nowInBlock64 serverTimezone subDate subtractDays
    subtractHours subtractInterval subtractMicroseconds subtractMilliseconds subtractMinutes
    subtractMonths subtractNanoseconds subtractQuarters subtractSeconds subtractTupleOfIntervals
    subtractWeeks subtractYears timeDiff timeSlot timeSlots timestamp timezone timezoneOf
    timezoneOffset today toDayOfMonth toDayOfWeek toDayOfYear toDaysInMonth toDaysSinceYearZero
    toHour toISOWeek toISOYear toLastDayOfMonth toLastDayOfWeek toMicrosecond toMillisecond
    toMinute toModifiedJulianDay toModifiedJulianDayOrNull toMonday toMonth toMonthNumSinceEpoch
    toNanosecond toQuarter toRelativeDayNum toRelativeHourNum toRelativeMinuteNum
    toRelativeMonthNum toRelativeQuarterNum toRelativeSecondNum toRelativeWeekNum
    toRelativeYearNum toSecond toStartOfDay toStartOfFifteenMinutes toStartOfFiveMinutes
    toStartOfHour toStartOfInterval toStartOfISOYear toStartOfMicrosecond toStartOfMillisecond
    toStartOfMinute toStartOfMonth toStartOfNanosecond toStartOfQuarter toStartOfSecond
    toStartOfTenMinutes toStartOfWeek toStartOfYear toTimeWithFixedDate toTimezone toUnixTimestamp
    toUTCTimestamp toWeek toYear toYearNumSinceEpoch toYearWeek toYYYYMM toYYYYMMDD
    toYYYYMMDDhhmmss UTCTimestamp yesterday YYYYMMDDhhmmssToDateTime YYYYMMDDhhmmssToDateTime64
    YYYYMMDDToDate YYYYMMDDToDate32
""")
"""Dates, times, time zones and intervals."""

CONVERSIONS: Final = _names("""
    accurateCast accurateCastOrDefault accurateCastOrNull CAST DATE fromUnixTimestamp64Micro
    fromUnixTimestamp64Milli fromUnixTimestamp64Nano fromUnixTimestamp64Second parseDateTime
    parseDateTime32BestEffort parseDateTime32BestEffortOrNull parseDateTime32BestEffortOrZero
    parseDateTime64 parseDateTime64BestEffort parseDateTime64BestEffortOrNull
    parseDateTime64BestEffortOrZero parseDateTime64BestEffortUS parseDateTime64BestEffortUSOrNull
    parseDateTime64BestEffortUSOrZero parseDateTime64InJodaSyntax
    parseDateTime64InJodaSyntaxOrNull parseDateTime64InJodaSyntaxOrZero parseDateTime64OrNull
    parseDateTime64OrZero parseDateTimeBestEffort parseDateTimeBestEffortOrNull
    parseDateTimeBestEffortOrZero parseDateTimeBestEffortUS parseDateTimeBestEffortUSOrNull
    parseDateTimeBestEffortUSOrZero parseDateTimeInJodaSyntax parseDateTimeInJodaSyntaxOrNull
    parseDateTimeInJodaSyntaxOrZero parseDateTimeOrNull parseDateTimeOrZero reinterpret
    reinterpretAsDate reinterpretAsDateTime reinterpretAsFixedString reinterpretAsFloat32
    reinterpretAsFloat64 reinterpretAsInt128 reinterpretAsInt16 reinterpretAsInt256
    reinterpretAsInt32 reinterpretAsInt64 reinterpretAsInt8 reinterpretAsString
    reinterpretAsUInt128 reinterpretAsUInt16 reinterpretAsUInt256 reinterpretAsUInt32
    reinterpretAsUInt64 reinterpretAsUInt8 reinterpretAsUUID toBFloat16 toBFloat16OrNull
    toBFloat16OrZero toBool toDate toDate32 toDate32OrDefault toDate32OrNull toDate32OrZero
    toDateOrDefault toDateOrNull toDateOrZero toDateTime toDateTime32 toDateTime64
    toDateTime64OrDefault toDateTime64OrNull toDateTime64OrZero toDateTimeOrDefault
    toDateTimeOrNull toDateTimeOrZero toDecimal128 toDecimal128OrDefault toDecimal128OrNull
    toDecimal128OrZero toDecimal256 toDecimal256OrDefault toDecimal256OrNull toDecimal256OrZero
    toDecimal32 toDecimal32OrDefault toDecimal32OrNull toDecimal32OrZero toDecimal64
    toDecimal64OrDefault toDecimal64OrNull toDecimal64OrZero toDecimalString toFixedString
    toFloat32 toFloat32OrDefault toFloat32OrNull toFloat32OrZero toFloat64 toFloat64OrDefault
    toFloat64OrNull toFloat64OrZero toInt128 toInt128OrDefault toInt128OrNull toInt128OrZero
    toInt16 toInt16OrDefault toInt16OrNull toInt16OrZero toInt256 toInt256OrDefault toInt256OrNull
    toInt256OrZero toInt32 toInt32OrDefault toInt32OrNull toInt32OrZero toInt64 toInt64OrDefault
    toInt64OrNull toInt64OrZero toInt8 toInt8OrDefault toInt8OrNull toInt8OrZero toInterval
    toIntervalDay toIntervalHour toIntervalMicrosecond toIntervalMillisecond toIntervalMinute
    toIntervalMonth toIntervalNanosecond toIntervalQuarter toIntervalSecond toIntervalWeek
    toIntervalYear toLowCardinality toString toStringCutToZero toTime toTime64 toTime64OrNull
    toTime64OrZero toTimeOrNull toTimeOrZero toUInt128 toUInt128OrDefault toUInt128OrNull
    toUInt128OrZero toUInt16 toUInt16OrDefault toUInt16OrNull toUInt16OrZero toUInt256
    toUInt256OrDefault toUInt256OrNull toUInt256OrZero toUInt32 toUInt32OrDefault toUInt32OrNull
    toUInt32OrZero toUInt64 toUInt64OrDefault toUInt64OrNull toUInt64OrZero toUInt8
    toUInt8OrDefault toUInt8OrNull toUInt8OrZero toUnixTimestamp64Micro toUnixTimestamp64Milli
    toUnixTimestamp64Nano toUnixTimestamp64Second toUUID toUUIDOrZero
""")
"""Between types."""

TEXT: Final = _names("""
    alphaTokens appendTrailingCharIfAbsent arrayStringConcat ascii base32Decode base32Encode
    base58Decode base58Encode base64Decode base64Encode base64URLDecode base64URLEncode basename
    bin bitmaskToArray bitmaskToList bitPositionsToArray byteHammingDistance caseFoldUTF8 char
    concat concatAssumeInjective concatWithSeparator concatWithSeparatorAssumeInjective conv
    countMatches countMatchesCaseInsensitive countSubstrings countSubstringsCaseInsensitive
    countSubstringsCaseInsensitiveUTF8 CRC32 CRC32IEEE CRC64 decodeHTMLComponent
    decodeXMLComponent encodeXMLComponent endsWith endsWithCaseInsensitive
    endsWithCaseInsensitiveUTF8 endsWithUTF8 extract extractAll extractAllGroupsHorizontal
    extractAllGroupsVertical extractGroups firstLine format hasAllTokens
    hasAnyTokens hasPhrase hasSubsequence hasSubsequenceCaseInsensitive
    hasSubsequenceCaseInsensitiveUTF8 hasSubsequenceUTF8 hasToken hasTokenCaseInsensitive
    hasTokenCaseInsensitiveOrNull hasTokenOrNull hex highlight hilbertDecode hilbertEncode ilike
    initcap initcapUTF8 isValidASCII isValidUTF8 left leftPad leftPadUTF8 leftUTF8 lengthUTF8 like
    locate lower lowerUTF8 match matchCaseInsensitive mortonDecode mortonEncode
    multiMatchAllIndices multiMatchAny multiMatchAnyIndex multiSearchAllPositions
    multiSearchAllPositionsCaseInsensitive multiSearchAllPositionsCaseInsensitiveUTF8
    multiSearchAllPositionsUTF8 multiSearchAny multiSearchAnyCaseInsensitive
    multiSearchAnyCaseInsensitiveUTF8 multiSearchAnyUTF8 multiSearchFirstIndex
    multiSearchFirstIndexCaseInsensitive multiSearchFirstIndexCaseInsensitiveUTF8
    multiSearchFirstIndexUTF8 multiSearchFirstPosition multiSearchFirstPositionCaseInsensitive
    multiSearchFirstPositionCaseInsensitiveUTF8 multiSearchFirstPositionUTF8 naturalSortKey
    ngramDistance ngramDistanceCaseInsensitive ngramDistanceCaseInsensitiveUTF8 ngramDistanceUTF8
    ngrams ngramSearch ngramSearchCaseInsensitive ngramSearchCaseInsensitiveUTF8 ngramSearchUTF8
    notILike notLike notMatch notMatchCaseInsensitive overlay overlayUTF8
    position positionCaseInsensitive positionCaseInsensitiveUTF8 positionUTF8 printf regexpExtract
    regexpPosition regexpQuoteMeta repeat replaceAll replaceOne
    replaceRegexpAll replaceRegexpOne reverseBySeparator reverseUTF8 right rightPad rightPadUTF8
    rightUTF8 soundex space splitByChar splitByNonAlpha splitByRegexp splitByString
    splitByWhitespace sqidDecode sqidEncode startsWith startsWithCaseInsensitive
    startsWithCaseInsensitiveUTF8 startsWithUTF8 stringBytesEntropy stringBytesUniq substring
    substringIndex substringIndexUTF8 substringUTF8 tokens tokensForLikePattern toValidUTF8
    translate translateUTF8 trimBoth trimLeft trimRight tryBase32Decode tryBase58Decode
    tryBase64Decode tryBase64URLDecode unbin unhex upper upperUTF8
""")
"""Strings: cutting, searching, replacing, encoding."""

JSON: Final = _names("""
    dynamicElement dynamicType isDynamicElementInSharedData isValidJSON JSON_EXISTS JSON_QUERY
    JSON_VALUE JSONAllPaths JSONAllPathsWithTypes JSONAllValues JSONArrayLength JSONDynamicPaths
    JSONDynamicPathsWithTypes JSONExtract JSONExtractArrayRaw JSONExtractArrayRawCaseInsensitive
    JSONExtractBool JSONExtractBoolCaseInsensitive JSONExtractCaseInsensitive JSONExtractFloat
    JSONExtractFloatCaseInsensitive JSONExtractInt JSONExtractIntCaseInsensitive JSONExtractKeys
    JSONExtractKeysAndValues JSONExtractKeysAndValuesCaseInsensitive JSONExtractKeysAndValuesRaw
    JSONExtractKeysAndValuesRawCaseInsensitive JSONExtractKeysCaseInsensitive JSONExtractRaw
    JSONExtractRawCaseInsensitive JSONExtractString JSONExtractStringCaseInsensitive
    JSONExtractUInt JSONExtractUIntCaseInsensitive JSONHas JSONKey JSONLength
    JSONSharedDataPaths JSONSharedDataPathsWithTypes JSONType prettyPrintJSON
    simpleJSONExtractBool simpleJSONExtractFloat simpleJSONExtractInt simpleJSONExtractRaw
    simpleJSONExtractString simpleJSONExtractUInt simpleJSONHas toJSONString
""")
"""JSON in strings and of the type JSON."""

HASHES: Final = _names("""
    cityHash64 dateTime64ToSnowflakeID dateTimeToSnowflakeID dateTimeToUUIDv7 farmFingerprint64
    farmHash64 gccMurmurHash generateUUIDv4 generateUUIDv7 halfMD5 hiveHash intHash32 intHash64
    javaHash javaHashUTF16LE jumpConsistentHash kafkaMurmurHash keccak256 kostikConsistentHash MD4
    MD5 metroHash64 murmurHash2_32 murmurHash2_64 murmurHash3_128 murmurHash3_32 murmurHash3_64
    ngramMinHash ngramMinHashArg ngramMinHashArgCaseInsensitive ngramMinHashArgCaseInsensitiveUTF8
    ngramMinHashArgUTF8 ngramMinHashCaseInsensitive ngramMinHashCaseInsensitiveUTF8
    ngramMinHashUTF8 ngramSimHash ngramSimHashCaseInsensitive ngramSimHashCaseInsensitiveUTF8
    ngramSimHashUTF8 rand rand64 randBernoulli randBinomial randCanonical randChiSquared
    randConstant randExponential randFisherF randLogNormal randNegativeBinomial randNormal
    randomFixedString randomPrintableASCII randomString randomStringUTF8 randPoisson randStudentT
    randUniform RIPEMD160 SHA1 SHA224 SHA256 SHA384 SHA512 SHA512_256 sipHash128 sipHash128Keyed
    sipHash128Reference sipHash128ReferenceKeyed sipHash64 sipHash64Keyed snowflakeIDToDateTime
    snowflakeIDToDateTime64 toUUIDOrDefault toUUIDOrNull URLHash UUIDNumToString UUIDStringToNum
    UUIDToNum UUIDv7ToDateTime wordShingleMinHash wordShingleMinHashArg
    wordShingleMinHashArgCaseInsensitive wordShingleMinHashArgCaseInsensitiveUTF8
    wordShingleMinHashArgUTF8 wordShingleMinHashCaseInsensitive
    wordShingleMinHashCaseInsensitiveUTF8 wordShingleMinHashUTF8 wordShingleSimHash
    wordShingleSimHashCaseInsensitive wordShingleSimHashCaseInsensitiveUTF8 wordShingleSimHashUTF8
    wyHash64 xxh3 xxh3_128 xxHash32 xxHash64 xxHash64Spark
""")
"""Hashes, identifiers and random numbers."""

ADDRESSES: Final = _names("""
    cutFragment cutIPv6 cutQueryString cutQueryStringAndFragment cutToFirstSignificantSubdomain
    cutToFirstSignificantSubdomainCustom cutToFirstSignificantSubdomainCustomRFC
    cutToFirstSignificantSubdomainCustomWithWWW cutToFirstSignificantSubdomainCustomWithWWWRFC
    cutToFirstSignificantSubdomainRFC cutToFirstSignificantSubdomainWithWWW
    cutToFirstSignificantSubdomainWithWWWRFC cutURLParameter cutWWW decodeURLComponent
    decodeURLFormComponent domain domainRFC domainWithoutWWW domainWithoutWWWRFC
    encodeURLComponent encodeURLFormComponent extractURLParameter extractURLParameterNames
    extractURLParameters firstSignificantSubdomain firstSignificantSubdomainCustom
    firstSignificantSubdomainCustomRFC firstSignificantSubdomainRFC fragment IPv4CIDRToRange
    IPv4NumToString IPv4NumToStringClassC IPv4StringToNum IPv4StringToNumOrDefault
    IPv4StringToNumOrNull IPv4ToIPv6 IPv6CIDRToRange IPv6NumToString IPv6StringToNum
    IPv6StringToNumOrDefault IPv6StringToNumOrNull isIPAddressInRange isIPv4String isIPv6String
    netloc path pathFull port portRFC protocol queryString queryStringAndFragment toIPv4
    toIPv4OrDefault toIPv4OrNull toIPv4OrZero toIPv6 toIPv6OrDefault toIPv6OrNull toIPv6OrZero
    topLevelDomain topLevelDomainRFC URLHierarchy URLPathHierarchy
""")
"""IP addresses and URLs, as text: nothing is looked up."""

OTHER: Final = _names("""
    bar blockNumber blockSize byteSize caseWithExpression countDigits currentDatabase currentUser
    defaultValueOfArgumentType defaultValueOfTypeName digits displayName dumpColumnStructure
    errorCodeToName exists finalizeAggregation formatReadableDecimalSize formatReadableQuantity
    formatReadableSize formatReadableTimeDelta geoDistance geohashDecode geohashEncode geoToH3
    getSizeOfEnumType getSubcolumn greatCircleAngle greatCircleDistance grouping h3GetResolution
    h3ToGeo identity ignore initializeAggregation isConstant isDecimalOverflow lambda
    lowCardinalityIndices lowCardinalityKeys MACNumToString MACStringToNum materialize
    minSampleSizeContinuous minSampleSizeConversion neighbor parseISO8601Duration
    parseReadableSize parseReadableSizeOrNull parseReadableSizeOrZero parseTimeDelta
    pointInEllipses pointInPolygon proportionsZTest revision rowNumberInAllBlocks rowNumberInBlock
    runningAccumulate runningDifference runningDifferenceStartingWithFirstValue
    seriesOutliersDetectTukey throwIf toColumnTypeName toTypeName transform untuple variantElement
    variantType version visibleWidth
""")
"""What fits nowhere else: drivers' greetings, columns as such, geography by formula."""

FUNCTIONS: Final = (
    ARITHMETIC | LOGIC | ARRAYS | TIMES | CONVERSIONS | TEXT | JSON | HASHES | ADDRESSES | OTHER
) | AGGREGATES

TABLE_FUNCTIONS: Final = _names("""
    numbers numbers_mt generateSeries generate_series values null view
""")

COMBINATORS: Final = (
    "simplestate", "ordefault", "distinct", "resample", "foreach", "argmax", "argmin", "ornull",
    "merge", "state", "array", "null", "map", "if", "tuple",
)  # fmt: skip


def is_aggregate(lower: str, aliases: Mapping[str, str]) -> bool:
    """Whether this is an allowed aggregate function, with or without combinators."""
    if aliases.get(lower, lower) in AGGREGATES:
        return True
    return any(
        lower.endswith(ending)
        and len(lower) > len(ending)
        and is_aggregate(lower.removesuffix(ending), aliases)
        for ending in COMBINATORS
    )


def may_call(lower: str, aliases: Mapping[str, str]) -> bool:
    """Whether statements may call the function of this lower-case name.

    `aliases` are the engine's: other name -> name, in lower case.
    """
    return aliases.get(lower, lower) in FUNCTIONS or is_aggregate(lower, aliases)
